"""Plan from a federation file, through the two exchanges with the sites."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

from fednnunet.commands.progress import bars
from fednnunet.commands.site_faults import show_fault
from fednnunet.errors import InputError
from fednnunet.federation.coordinator.stated import StatedCases
from fednnunet.federation.site import ledger
from fednnunet.federation.site.policy import SitePolicy, read_policy
from fednnunet.federation.site.wall import LEDGER
from fednnunet.federation.spec import Federation, read_federation
from fednnunet.federation.workflows.plan import Planned, plan_together
from fednnunet.federation.workflows.plan_checks import (
    check_configuration,
    check_simulation,
    planning_notes,
)
from fednnunet.federation.workflows.simulation import SITES, simulation_engine
from fednnunet.planning.plan import read_plan


def plan_federation(
    path: Path,
    out: Path,
    *,
    planner: str | None,
    memory_gib: Sequence[float],
    without: Collection[str],
    console: Console,
) -> tuple[Federation, Planned]:
    """Check and measure every site, merge, and plan; writes only the sites' ledgers.

    Returns the federation that was planned, with the options applied and without the sites that
    were left out.
    """
    federation = _with_options(read_federation(path, without=without), planner, memory_gib)
    check_simulation(federation, without=without)
    for note in planning_notes(federation):
        console.print(f"note: {note}", markup=False, highlight=False)
    with bars(console) as progress:
        engine = simulation_engine(
            federation, out, without=without, progress=progress, on_fault=show_fault
        )
        kept = {name: site for name, site in federation.sites.items() if name not in without}
        federation = dataclasses.replace(federation, sites=kept)
        planned = plan_together(engine, federation)
    check_configuration(planned.plan, federation.training.configuration)
    _refuse_to_change_a_trained_plan(out, planned)
    return federation, planned


def note_shares(stated: StatedCases, console: Console) -> None:
    """Print the number of cases that each site stated: by it a site counts in the plan."""
    for site, share in stated.shares.items():
        line = f"site {site} stated {stated.cases[site]:,} cases: {share:.1%} of the fingerprint"
        console.print(line, markup=False, highlight=False)


def note_what_left(federation: Federation, out: Path, console: Console) -> None:
    """Print the number of bytes that each site sent, and the notes on the sites' policies."""
    for note in policy_notes(federation):
        console.print(f"note: {note}", markup=False, highlight=False)
    for name in federation.sites:
        entries = ledger.read(out / SITES / name / LEDGER)
        size = sum(int(str(entry["bytes"])) for entry in entries[-2:])
        line = f"site {name} sent {size:,} bytes of sums, whatever its number of cases"
        console.print(line, markup=False, highlight=False)


def policy_notes(federation: Federation) -> tuple[str, ...]:
    """Notes for every reader of a report: the sites that share sums over very few cases."""
    usual = SitePolicy().min_cases
    notes = []
    for name, site in federation.sites.items():
        fewest = read_policy(site.policy, site.folder).min_cases
        if fewest < usual:
            number = f"only {fewest} cases" if fewest > 1 else "a single case"
            notes.append(f"site {name} may share sums over {number} (usual limit: {usual})")
    return tuple(notes)


def _with_options(
    federation: Federation, planner: str | None, memory_gib: Sequence[float]
) -> Federation:
    if len(memory_gib) > 1:
        raise InputError(
            f"--memory-gib was given {len(memory_gib)} values",
            where="command line",
            mend="give one value; set that of a single site as sites.NAME.memory_gib in the file",
        )
    budget = federation.budget
    memory = memory_gib[0] if memory_gib else budget.memory_gib
    budget = dataclasses.replace(budget, planner=planner or budget.planner, memory_gib=memory)
    return dataclasses.replace(federation, budget=budget)


def _refuse_to_change_a_trained_plan(out: Path, planned: Planned) -> None:
    trained = (out / "rounds").is_dir() and (out / "plan.json").exists()
    if trained and read_plan(out / "plan.json") != planned.plan:
        raise InputError(
            "the run folder was trained with another plan",
            where=str(out),
            mend="choose another output folder, or delete this one",
        )
