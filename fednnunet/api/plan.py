"""Plan a federation whose sites are folders on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.federation.coordinator.stated import SITES as STATED
from fednnunet.federation.site.wall import OnFault
from fednnunet.federation.spec import Federation, read_federation
from fednnunet.federation.workflows.plan import Planned, plan_together
from fednnunet.federation.workflows.plan_checks import (
    check_configuration,
    check_simulation,
    planning_notes,
)
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.planning.explain import write_why
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.plan import Plan, read_plan
from fednnunet.planning.record import write_fingerprint
from fednnunet.planning.shapes import ShapeSketch

SiteProgress = Callable[[str, int, int, str], None]
"""Called as `progress(site, done, total, what)` while a site works."""


def plan(
    federation: Federation | Path | str,
    output: Path | str,
    *,
    planner: str | None = None,
    memory_gib: float | None = None,
    without: Collection[str] = (),
    progress: SiteProgress | None = None,
    on_fault: OnFault | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Plan:
    """Check and measure every site, merge their sums, and write a run folder for `train`.

    `federation` is a federation file or what `read_federation` made of one. `planner` and
    `memory_gib` replace those of its budget, and the sites in `without` are left out. `on_note` is
    told of settings that have no effect. Writes
    `federation.json`, `fingerprint.json`, `plan.json` and `why.md` to `output`. Raises the faults
    of all sites together.
    """
    output = Path(output)
    if not isinstance(federation, Federation):
        federation = read_federation(Path(federation), without=without)
    budget = federation.budget
    budget = dataclasses.replace(
        budget,
        planner=planner or budget.planner,
        memory_gib=budget.memory_gib if memory_gib is None else memory_gib,
    )
    federation = dataclasses.replace(federation, budget=budget)
    check_simulation(federation, without=without)
    for note in planning_notes(federation):
        if on_note:
            on_note(note)
    engine = simulation_engine(
        federation, output, without=without, progress=progress, on_fault=on_fault
    )
    kept = {name: site for name, site in federation.sites.items() if name not in without}
    federation = dataclasses.replace(federation, sites=kept)
    planned = plan_together(engine, federation)
    check_configuration(planned.plan, federation.training.configuration)
    _refuse_to_change_a_trained_plan(output, planned)
    records.write(federation, output / "federation.json")
    records.write(planned.stated, output / STATED)
    write_planned(planned.plan, planned.fingerprint, planned.shapes, output)
    return planned.plan


def write_planned(plan: Plan, fingerprint: Fingerprint, shapes: ShapeSketch, folder: Path) -> None:
    """Write fingerprint.json, plan.json, why.md and its figures."""
    from fednnunet.planning.figures import draw_figures

    write_fingerprint(fingerprint, folder / "fingerprint.json")
    figures = draw_figures(plan, fingerprint, shapes, folder)
    write_why(plan, folder / "why.md", figures=figures)
    records.write(plan, folder / "plan.json")


def _refuse_to_change_a_trained_plan(out: Path, planned: Planned) -> None:
    trained = (out / "rounds").is_dir() and (out / "plan.json").exists()
    if trained and read_plan(out / "plan.json") != planned.plan:
        raise InputError(
            "the run folder was trained with another plan",
            where=str(out),
            mend="choose another output folder, or delete this one",
        )
