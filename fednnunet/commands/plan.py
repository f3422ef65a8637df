"""fednnunet_plan: make the plan that all pooled cases would give, from the sites' sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from fednnunet import records
from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.tables import print_table
from fednnunet.errors import InputError
from fednnunet.planning.explain import why, write_why
from fednnunet.planning.plan import Plan, read_plan
from fednnunet.text import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_plan."""

    federation: Annotated[Path | None, Opt(positional=True)] = None
    """federation file (TOML)"""
    output: Annotated[Path, Opt(short="-o")]
    """folder for plan.json and why.md"""
    planner: str | None = None
    """plain, resenc_m, resenc_l, resenc_xl or cpu"""
    memory_gib: tuple[float, ...] = ()
    """GPU memory to plan for in GiB; with --from-cases also one number per site: 8,24,40"""
    from_cases: Path | None = None
    """plan without images, from a list of cases (JSON)"""
    sites: int = 1
    """number of sites over which the list of cases is split"""
    seed: int = 0
    """seed of this split"""
    from_nnunet: Path | None = None
    """convert a plan of nnU-Net (nnUNetPlans.json)"""
    dataset_json: Path | None = None
    """the dataset.json of that plan; by default the one in its folder"""
    without: tuple[str, ...] = ()
    """sites to leave out: berlin,oslo"""
    explain: bool = False
    """print the reason for each decision"""


def main(argv: Sequence[str] | None = None) -> int:
    """Plan from a federation, a list of cases or a plan of nnU-Net; or explain a plan."""
    options = parse(Options, argv, prog="fednnunet_plan", about=__doc__ or "")
    return run_command(lambda: _run(options, PlainConsole()), private=True)


def _run(options: Options, console: Console) -> None:
    check_output(options.output)
    plan = _plan(options, console)
    if options.explain:
        console.print(Markdown(why(plan)))
    else:
        print_table(console, _table(plan))
    console.print(f"{options.output / 'plan.json'}, why.md", highlight=False, markup=False)


def _plan(options: Options, console: Console) -> Plan:
    given = [options.federation, options.from_cases, options.from_nnunet]
    chosen = [source for source in given if source is not None]
    made = options.output / "plan.json"
    if not chosen and options.explain:
        return read_plan(made)
    if len(chosen) != 1:
        raise InputError(
            f"{len(chosen)} inputs were given",
            where="command line",
            mend="give one of: a federation file, --from-cases FILE, --from-nnunet FILE "
            "(or only --explain, for an existing plan)",
        )
    if options.from_nnunet:
        return _from_nnunet(options)
    if options.from_cases:
        return _from_cases(options, options.from_cases, console)
    return _from_federation(options, console)


def _from_cases(options: Options, path: Path, console: Console) -> Plan:
    from fednnunet.api.plan import write_planned
    from fednnunet.interop.case_list import plan_what_if, read_case_list

    made = plan_what_if(
        read_case_list(path),
        sites=options.sites,
        seed=options.seed,
        planner=options.planner,
        memory_gib=options.memory_gib or None,
    )
    write_planned(made.plan, made.fingerprint, made.shapes, options.output)
    size = (made.fingerprint.vector.nbytes + made.shapes.counts.nbytes) / 2**20
    console.print(
        f"each of {options.sites} sites sends {size:.2f} MiB, whatever its number of cases"
    )
    return made.plan


def _from_nnunet(options: Options) -> Plan:
    from fednnunet.interop.nnunet_plans import read_nnunet_plan

    if options.from_nnunet is None:
        raise InputError(
            "no nnUNetPlans.json was given", mend="give its path with --from-nnunet FILE"
        )
    plan = read_nnunet_plan(options.from_nnunet, options.dataset_json)
    records.write(plan, options.output / "plan.json")
    write_why(plan, options.output / "why.md")
    return plan


def _from_federation(options: Options, console: Console) -> Plan:
    from fednnunet.commands.plan_federation import note_shares, note_what_left, plan_federation
    from fednnunet.federation.coordinator.stated import read_stated
    from fednnunet.federation.spec import Federation

    if options.federation is None:
        raise InputError(
            "no federation file was given", mend="give the path of a federation file (TOML)"
        )
    plan = plan_federation(
        options.federation,
        options.output,
        planner=options.planner,
        memory_gib=options.memory_gib,
        without=options.without,
        console=console,
    )
    note_shares(read_stated(options.output), console)
    note_what_left(
        records.read(Federation, options.output / "federation.json"), options.output, console
    )
    return plan


def _table(plan: Plan) -> Table:
    """A column for each configuration, so that the table is narrow and no word is broken."""
    cases = plural(plan.cases, "case")
    table = Table(title=f"Plan of {plan.task.name}: {plan.planner}, {cases}", title_justify="left")
    table.add_column("", no_wrap=True)
    for configuration in plan.configurations:
        table.add_column(configuration.name, no_wrap=True)
    rows = {
        "spacing, mm": [_times(c.spacing_mm) for c in plan.configurations],
        "median shape": [_times(c.median_shape_vox) for c in plan.configurations],
        "patch": [_times(c.patch_vox) for c in plan.configurations],
        "batch": [str(c.batch) for c in plan.configurations],
        "features": [
            "-".join(str(stage.features) for stage in c.architecture.stages)
            for c in plan.configurations
        ],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.5g}" for value in values)
