"""The usual way to a plan: from a federation file, through the two exchanges, into a run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from rich.console import Console

from fednnunet import records
from fednnunet.commands.progress import bars
from fednnunet.errors import InputError
from fednnunet.federation import ledger
from fednnunet.federation.embedded import SITES, embedded_engine
from fednnunet.federation.plan_together import Planned, plan_together
from fednnunet.federation.policy import read_policy
from fednnunet.federation.spec import Federation, read_federation
from fednnunet.planning.cleanse import SitePolicy
from fednnunet.planning.plan import read_plan
from fednnunet.planning.record import write_fingerprint


def plan_federation(
    path: Path,
    out: Path,
    *,
    planner: str | None = None,
    memory_gib: float | None = None,
    without: Collection[str] = (),
    console: Console,
) -> Planned:
    """Check and measure every site, merge, plan, and write the run folder.

    Nothing in `out` is touched unless all of it succeeded.
    """
    federation = _with_options(read_federation(path), planner, memory_gib)
    with bars(console) as progress:
        engine = embedded_engine(federation, out, without=without, progress=progress)
        kept = {name: site for name, site in federation.sites.items() if name not in without}
        federation = dataclasses.replace(federation, sites=kept)
        planned = plan_together(engine, federation)
    _refuse_to_change_a_trained_plan(out, planned)
    records.write(federation, out / "federation.json")
    write_fingerprint(planned.fingerprint, out / "fingerprint.json")
    records.write(planned.plan, out / "plan.json")
    for warning in policy_notes(federation):
        console.print(f"note: {warning}", markup=False)
    _show_sizes(federation, out, console)
    return planned


def policy_notes(federation: Federation) -> tuple[str, ...]:
    """What every reader of a report must know: sites that share sums over very few cases."""
    usual = SitePolicy().min_cases
    return tuple(
        f"site {name} shares sums over as few as {policy.min_cases} cases (usual limit: {usual})"
        for name, site in federation.sites.items()
        if (policy := read_policy(site.policy, site.folder)).min_cases < usual
    )


def _with_options(
    federation: Federation, planner: str | None, memory_gib: float | None
) -> Federation:
    budget = federation.budget
    budget = dataclasses.replace(
        budget, planner=planner or budget.planner, memory_gib=memory_gib or budget.memory_gib
    )
    return dataclasses.replace(federation, budget=budget)


def _refuse_to_change_a_trained_plan(out: Path, planned: Planned) -> None:
    trained = (out / "rounds").is_dir() and (out / "plan.json").exists()
    if trained and read_plan(out / "plan.json") != planned.plan:
        raise InputError(
            "the run folder was trained by another plan",
            where=str(out),
            mend="plan into another folder, or delete this one",
        )


def _show_sizes(federation: Federation, out: Path, console: Console) -> None:
    for name in federation.sites:
        entries = ledger.read(out / SITES / name / "ledger.jsonl")
        sizes = [int(str(entry["bytes"])) for entry in entries][-2:]
        console.print(
            f"site {name} sent {sum(sizes):,} bytes of sums, whatever its number of cases",
            markup=False,
        )
