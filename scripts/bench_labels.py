"""What weak labels and pseudo-labels bring: every federation of the table in docs/benchmarks.md.

Trains the four hippocampus sites (and the five of head and neck CT) with labels of many kinds, on
one split, for equally many iterations, and scores the last checkpoint on held-out cases, which keep
full labels. Every training is stored on its own; the same command goes on where it was stopped.

    python scripts/bench_labels.py -o OUT --minutes 60
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from bench_clock import Timed, TimeIsUp, minutes_from_now, say_stopped
from bench_labels_cells import CELLS, LATE, ROWS, SITES, Cell, CellScores, Data, SiteLabels
from bench_labels_report import write_report
from weaken_site import held_out_names, weaken_site

from fednnunet import records
from fednnunet.commands.cli import Opt, check_output, parse, run_command
from fednnunet.commands.compare_runs import RunJob, collect, train_run
from fednnunet.commands.site_faults import show_fault
from fednnunet.dataset import read_dataset
from fednnunet.dataset_header import task_of
from fednnunet.errors import InputError
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.spec import Budget, Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.workflows.plan import plan_together
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.planning.plan import Plan, read_plan

ROOT = Path(__file__).resolve().parents[1]
POLICY = ROOT / "plans" / "public_data_site.toml"
PLANNED: dict[Data, str] = {"hippocampus": "full", "head_neck_ct": "organs"}
HELD_OUT, SPLIT_SEED = 0.3, 0
ROUNDS: dict[Data, int] = {"hippocampus": 14, "head_neck_ct": 10}
ITERATIONS: dict[Data, int] = {"hippocampus": 10, "head_neck_ct": 6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to train, where, and how long."""

    output: Annotated[Path, Opt(short="-o")]
    """folder for the trainings, the table and the picture"""
    data: Path = ROOT.parent / "shared" / "data"
    """folder with hippocampus and head_neck_ct"""
    rows: tuple[str, ...] = tuple(ROWS)
    """rows of the table"""
    minutes: float = math.inf
    """stop after so many minutes, within a round; the same command goes on"""
    part: int = 0
    """which of --parts this process trains, counted from 0"""
    parts: int = 1
    """processes that share the trainings, each started with its own --part"""
    seeds: int = 0
    """at most so many seeds a cell; 0 for those of the table"""
    rounds: int = 0
    """rounds of every training; 0 for the table's"""
    iterations: int = 0
    """iterations of each site in a round; 0 for the table's"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench(Timed):
    """The settings of a call; `shape` may change a plan, for tests."""

    options: Options
    shape: Callable[[Plan], Plan] = lambda plan: plan

    def scores_path(self, cell: Cell, seed: int) -> Path:
        """Where the scores of a training are stored."""
        return self.options.output / "cells" / f"{cell.name}_{seed}.json"


def cells_of(rows: Sequence[str], seeds: int = 0) -> tuple[tuple[Cell, int], ...]:
    """The trainings of some rows, each once; the first seed of all, then the second of all."""
    named = [name for row in rows for name in row_cells(row)]
    cells = [CELLS[name] for name in dict.fromkeys(named)]
    most = {cell.name: min(cell.seeds, seeds or cell.seeds) for cell in cells}
    return tuple(
        (cell, seed)
        for seed in range(max(most.values(), default=0))
        for cell in cells
        if seed < most[cell.name]
    )


def row_cells(name: str) -> tuple[str, ...]:
    """The cells of a row and of its claims."""
    row = ROWS[name]
    others = (n for claim in row.claims for n in (claim.cell, claim.low, claim.high) if n)
    return tuple(dict.fromkeys((*row.cells, *others)))


def run_bench(bench: Bench) -> bool:
    """Train what is missing of this part, and write the table after each; whether it is done."""
    options = bench.options
    todo = cells_of(options.rows, options.seeds)
    for number, (cell, seed) in enumerate(todo, start=1):
        path = bench.scores_path(cell, seed)
        if path.is_file() or number % options.parts != options.part:
            continue
        if bench.is_over:
            return False
        print(f"{number} of {len(todo)}: {cell.name}, seed {seed}: {cell.words}", flush=True)
        try:
            scores = train_cell(bench, cell, seed)
        except TimeIsUp:
            say_stopped()
            return False
        records.write(scores, path)
        print(f"  Dice {mean_dice(scores):.4f}, {scores.seconds:.0f} s", flush=True)
        report(bench)
    report(bench)
    return True


def report(bench: Bench) -> None:
    """Write the table and the picture of what there is."""
    found: dict[str, list[CellScores]] = {}
    for cell, seed in cells_of(bench.options.rows, bench.options.seeds):
        path = bench.scores_path(cell, seed)
        if path.is_file():
            found.setdefault(cell.name, []).append(records.read(CellScores, path))
    write_report(found, bench.options.rows, bench.options.output)


def mean_dice(scores: CellScores) -> float:
    """The mean over cases of the mean Dice of the targets that are defined."""
    cases = [list(t.values()) for site in scores.cases.values() for t in site.values()]
    means = [statistics.fmean(d) for c in cases if (d := [v for v in c if v is not None])]
    return statistics.fmean(means) if means else math.nan


def train_cell(bench: Bench, cell: Cell, seed: int) -> CellScores:
    """Train one federation with one seed and score it; continues if it was interrupted."""
    out = bench.options.output
    federation = federation_of(bench, cell, seed)
    job = RunJob(
        folder=out / "runs" / f"{cell.name}_{seed}",
        prepared=out / "prepared" / cell.name,
        federation=federation,
        plan=plan_of(bench, cell.data),
    )
    train_run(job, observer=bench.observe)
    trial = next(trial for trial in collect([job]) if trial.model == "global")
    training = federation.training
    return CellScores(
        cell=cell.name,
        seed=seed,
        rounds=training.rounds,
        iterations_per_round=training.iterations_per_round,
        targets=trial.targets,
        cases={
            site: {
                case.case: {
                    name: None if math.isnan(score.dice) else score.dice
                    for name, score in case.targets.items()
                }
                for case in cases
            }
            for site, cases in trial.cases.items()
        },
        seconds=trial.seconds,
        seconds_per_iteration=_per_iteration(job),
    )


def _per_iteration(job: RunJob) -> dict[str, float]:
    history = load_records(job.folder / "rounds")
    seconds: dict[str, list[float]] = {}
    for record in history:
        for site, figures in record.sites.items():
            seconds.setdefault(site, []).append(figures.seconds)
    count = job.federation.training.iterations_per_round
    return {site: statistics.median(values) / count for site, values in seconds.items()}


def federation_of(bench: Bench, cell: Cell, seed: int) -> Federation:
    """The federation of a cell: its sites' folders are made where they are missing."""
    options = bench.options
    rounds = options.rounds or ROUNDS[cell.data]
    sites = {}
    for name, labels in zip(SITES[cell.data], cell.labels, strict=True):
        sites[name] = SiteSpec(
            folder=site_folder(bench, cell.data, name, labels),
            trains=labels.take != "held_out",
            policy=POLICY,
            joins=1 + round(LATE * rounds) if labels.late else 1,
        )
    return Federation(
        task=task_of(options.data / cell.data / SITES[cell.data][0]),
        sites=sites,
        budget=Budget(planner="cpu"),
        training=Training(
            method="fedavg",  # type: ignore[arg-type] # a preset's name becomes its settings
            recipe="fast",
            rounds=rounds,
            iterations_per_round=options.iterations or ITERATIONS[cell.data],
            held_out=0.0,
            seed=seed,
            split_seed=SPLIT_SEED,
            pseudo_labels=cell.pseudo,
            weights=cell.weights,
            merging=cell.merging,
        ),
    )


def site_folder(bench: Bench, data: Data, site: str, labels: SiteLabels) -> Path:
    """A site's folder with such labels; the held-out cases are its test set, with full labels.

    A site that does not train has the held-out cases only.
    """
    source = bench.options.data / data / site
    folder = bench.options.output / "data" / data / labels.name / site
    if folder.is_dir():
        return folder
    task = task_of(source)
    held = held_out_names(source, share=HELD_OUT, seed=SPLIT_SEED)
    cases = [c.name for c in read_dataset(source, task).cases if c.name not in held]
    taken = {"held_out": [], "one": cases[:1], "all": cases}[labels.take]
    kept = {"none": [], "one": cases[:1], "all": taken}[labels.keep]
    numbers = [int(c.removeprefix("#")) for c in labels.how.classes]
    how = dataclasses.replace(labels.how, classes=tuple(task.labels[n] for n in numbers))
    building = folder.with_name(f".tmp-{os.getpid()}-{site}")
    shutil.rmtree(building, ignore_errors=True)
    building.parent.mkdir(parents=True, exist_ok=True)
    trains = labels.take != "held_out"
    weaken_site(
        source,
        building,
        how,
        keep=kept if trains else held,
        test=held if trains else (),
        only=[*taken, *held],
    )
    try:
        os.replace(building, folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(building)  # another part was first
    return folder


def plan_of(bench: Bench, data: Data) -> Plan:
    """The plan of all trainings on some data, made once from the sites with the labels they have.

    Spacing, patch and network do not depend on labels, and the intensities do in CT alone; one plan
    leaves the labels as the only difference between two cells.
    """
    path = bench.options.output / "plans" / f"{data}.json"
    if not path.is_file():
        federation = federation_of(bench, CELLS[PLANNED[data]], 0)
        folder = path.with_name(f"{data}_part_{bench.options.part}")
        engine = simulation_engine(federation, folder, on_fault=show_fault)
        records.write(bench.shape(plan_together(engine, federation).plan), path)
    return read_plan(path)


def _check(options: Options) -> None:
    unknown = sorted(set(options.rows) - ROWS.keys())
    if unknown:
        raise InputError(f"there is no row {', '.join(unknown)}", mend=f"choose from {list(ROWS)}")
    for data in sorted({CELLS[name].data for row in options.rows for name in row_cells(row)}):
        if not (options.data / data).is_dir():
            raise InputError(
                f"the volumes of {data} are not there",
                where=str(options.data / data),
                mend="give their folder as --data, or leave out the rows that need them",
            )
    if min(options.rounds, options.iterations, options.seeds) < 0 or options.minutes < 0:
        raise InputError("a number on the command line is negative", mend="give 0 or more")
    if not 0 <= options.part < options.parts:
        raise InputError(
            f"there is no part {options.part} of {options.parts}",
            mend="count --part from 0 to below --parts",
        )


def _run(options: Options, shape: Callable[[Plan], Plan]) -> None:
    _check(options)
    check_output(options.output)
    stop_at = minutes_from_now(options.minutes)
    if run_bench(Bench(options=options, stop_at=stop_at, shape=shape)):
        print((options.output / "labels.md").read_text(encoding="utf-8"))


def main(argv: Sequence[str] | None = None, *, shape: Callable[[Plan], Plan] | None = None) -> int:
    """Train, and print the table when all is done."""
    options = parse(Options, argv, prog="bench_labels.py", about=str(__doc__).splitlines()[0])
    return run_command(partial(_run, options, shape or (lambda plan: plan)))


if __name__ == "__main__":
    raise SystemExit(main())
