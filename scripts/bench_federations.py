"""Is a hospital better off for joining? Methods on natural federations, beside training alone.

Trains every method with equally many iterations at each site on each federation of public volumes,
and compares the models on held-out cases. Every training is a run folder of its own: the same
command goes on where it was stopped. The table, and the curves against iterations and bytes, are
written after each training.

    python scripts/bench_federations.py -o OUT --minutes 60
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from bench_clock import Timed, TimeIsUp, minutes_from_now, say_stopped
from bench_federations_report import Found, Trained, write_report
from make_shifted import make_shifted

from fednnunet import records
from fednnunet.commands.cli import Opt, check_output, parse, run_command
from fednnunet.commands.compare_runs import RunJob, collect, train_run
from fednnunet.commands.site_faults import show_fault
from fednnunet.dataset_header import task_of
from fednnunet.errors import InputError
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.methods.catalogue import PRESETS
from fednnunet.federation.spec import Budget, Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.workflows.plan import plan_together
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.planning.plan import Plan, read_plan
from fednnunet.text import choices

ROOT = Path(__file__).resolve().parents[1]
POLICY = ROOT / "plans" / "public_data_site.toml"
HELD_OUT = 0.3
Lengths = Mapping[str, tuple[int, int]]
LENGTHS: Lengths = {"short": (24, 5), "long": (200, 5)}
"""Rounds, and iterations of each site in a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A federation of public volumes: its folder in --data, its sites, and those left out.

    Sites of `outside` do not train; the global model is scored on all of their cases.
    """

    folder: str
    sites: tuple[str, ...]
    outside: tuple[str, ...] = ()


HIPPOCAMPUS = ("site_a", "site_b", "site_c", "site_d")
DATA: dict[str, Data] = {
    "unlike_scanners": Data(folder="hippocampus", sites=HIPPOCAMPUS),
    "hippocampus": Data(folder="hippocampus", sites=HIPPOCAMPUS),
    "sarcoma_pet": Data(folder="sarcoma_pet", sites=("grid_3_91mm", "grid_4_69mm", "grid_5_47mm")),
    "sarcoma_ct": Data(folder="sarcoma_ct", sites=("north", "south")),
    "head_neck_ct": Data(
        folder="head_neck_ct",
        sites=("site_a", "site_b", "site_c", "site_d", "site_e"),
    ),
    # one patient a site, so that only sites left out can be scored
    "spinal_cord": Data(
        folder="spinal_cord_gm",
        sites=("Milan", "CEITEC", "Philips", "Juntendo", "UCL", "NWU"),
        outside=("UCL", "NWU"),
    ),
}
METHODS = ("local", "fedavg", "fedease", "pooled", "pooled_iterations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to train, where, and how long."""

    output: Annotated[Path, Opt(short="-o")]
    """folder for the trainings, the table and the curves"""
    data: Path = ROOT.parent / "shared" / "data"
    """folder with the public volumes"""
    federations: tuple[str, ...] = tuple(DATA)
    """federations to train"""
    methods: tuple[str, ...] = METHODS
    """methods; pooled sees as many samples as all sites, pooled_iterations takes as many steps"""
    lengths: tuple[str, ...] = ("short",)
    """short (24 rounds of 5 iterations), long (200 rounds of 5)"""
    seeds: int = 3
    """trainings of each method on each federation"""
    split: int = 0
    """seed of the split into training and held-out cases"""
    minutes: float = math.inf
    """stop after so many minutes, within a round; the same command goes on"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench(Timed):
    """The settings of a call; `shape` may change a plan and `lengths` the rounds, for tests."""

    options: Options
    shape: Callable[[Plan], Plan] = lambda plan: plan
    lengths: Lengths = dataclasses.field(default_factory=lambda: LENGTHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training: a method on a federation, for a length, with a seed."""

    federation: str
    length: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.federation}_{self.length}/{self.method}_{self.seed}"


def cells_of(options: Options) -> Iterator[Cell]:
    """The trainings, in order: the first seed of all, then the second of all."""
    for seed in range(options.seeds):
        for length in options.lengths:
            for federation in options.federations:
                for method in options.methods:
                    yield Cell(federation=federation, length=length, method=method, seed=seed)


def run_bench(bench: Bench) -> bool:
    """Train what is missing, and write the table after each training; whether all is done."""
    cells = list(cells_of(bench.options))
    for number, cell in enumerate(cells, start=1):
        job = job_of(bench, cell)
        if job.done:
            continue
        if bench.is_over:
            return False
        print(f"{number} of {len(cells)}: {cell.name}", flush=True)
        try:
            train_run(job, observer=bench.observe)
        except TimeIsUp:
            say_stopped()
            return False
        report(bench)
    report(bench)
    return True


def report(bench: Bench) -> None:
    """Write the table and the curves of what there is."""
    found: Found = {}
    for cell in cells_of(bench.options):
        job = job_of(bench, cell)
        if not job.done:
            continue
        place = found.setdefault(f"{cell.federation}, {cell.length}", {})
        place.setdefault(cell.method, []).append(
            Trained(
                seed=cell.seed,
                trials=collect([job]),
                rounds=load_records(job.folder / "rounds"),
                iterations_per_round=job.federation.training.iterations_per_round,
            )
        )
    write_report(found, bench.options.output)


def job_of(bench: Bench, cell: Cell) -> RunJob:
    """The run of a cell; the federation's plan and prepared cases are shared by all of its runs."""
    out = bench.options.output / f"{cell.federation}_split_{bench.options.split}"
    return RunJob(
        folder=bench.options.output / f"runs_split_{bench.options.split}" / cell.name,
        prepared=out / "prepared",
        federation=federation_of(bench, cell),
        plan=plan_of(bench, cell, out),
    )


def federation_of(bench: Bench, cell: Cell) -> Federation:
    """The federation of a cell."""
    options, data = bench.options, DATA[cell.federation]
    folder = options.data / data.folder
    if cell.federation == "unlike_scanners":
        made = options.output / "unlike_scanners"
        if not (made / "federation.toml").is_file():
            make_shifted(folder, made)
        folder = made
    rounds, iterations = bench.lengths[cell.length]
    method = cell.method.removesuffix("_iterations")
    return Federation(
        task=task_of(folder / data.sites[0]),
        sites={
            name: SiteSpec(
                folder=(folder / name).resolve(), policy=POLICY, trains=name not in data.outside
            )
            for name in data.sites
        },
        budget=Budget(planner="cpu"),
        training=Training(
            method=PRESETS[method],
            rounds=rounds,
            iterations_per_round=iterations,
            public_rounds=0 if method == "local" else rounds,
            held_out=0.0 if data.outside else HELD_OUT,
            pooled="iterations" if cell.method == "pooled_iterations" else "samples",
            seed=cell.seed,
            split_seed=options.split,
        ),
    )


def plan_of(bench: Bench, cell: Cell, out: Path) -> Plan:
    """The plan of all trainings on a federation, made once."""
    path = out / "plan.json"
    if not path.is_file():
        federation = federation_of(bench, cell)
        engine = simulation_engine(federation, out, on_fault=show_fault)
        records.write(bench.shape(plan_together(engine, federation).plan), path)
    return read_plan(path)


def _check(options: Options) -> None:
    for name, known in (
        *((name, tuple(DATA)) for name in options.federations),
        *((name, METHODS + tuple(PRESETS)) for name in options.methods),
        *((name, tuple(LENGTHS)) for name in options.lengths),
    ):
        if name not in known:
            raise InputError(f"there is no {name!r}", mend=choices(name, known))
    for name in options.federations:
        if not (options.data / DATA[name].folder).is_dir():
            raise InputError(
                f"the volumes of {name} are not there",
                where=str(options.data / DATA[name].folder),
                mend="give their folder as --data, or leave the federation out",
            )
    if options.seeds < 1 or min(options.minutes, options.split) < 0:
        raise InputError("a number on the command line is too small", mend="give 1 seed or more")


def _run(options: Options, shape: Callable[[Plan], Plan], lengths: Lengths) -> None:
    _check(options)
    check_output(options.output)
    stop_at = minutes_from_now(options.minutes)
    if run_bench(Bench(options=options, stop_at=stop_at, shape=shape, lengths=lengths)):
        print((options.output / "federations.md").read_text(encoding="utf-8"))


def main(
    argv: Sequence[str] | None = None,
    *,
    shape: Callable[[Plan], Plan] = lambda plan: plan,
    lengths: Lengths | None = None,
) -> int:
    """Train, and print the table when all is done."""
    about = str(__doc__).splitlines()[0]
    options = parse(Options, argv, prog="bench_federations.py", about=about)
    return run_command(partial(_run, options, shape, lengths or LENGTHS))


if __name__ == "__main__":
    raise SystemExit(main())
