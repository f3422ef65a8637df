"""What `bench_poisoning.py` and `bench_bytes.py` share: the four scanners, the plan, stored cells.

Every training is stored on its own, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bench_clock import Timed, TimeIsUp, minutes_from_now, say_stopped
from make_shifted import make_shifted

from fednnunet import records
from fednnunet.commands.cli import Opt, check_output, parse, run_command
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.spec import Federation, read_federation
from fednnunet.federation.workflows.plan import plan_together
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.federation.workflows.train import SCORES, TrainingScores, train_together
from fednnunet.files import write_text
from fednnunet.planning.plan import Plan, read_plan
from fednnunet.training.threads import threads_of_run, using

ROOT = Path(__file__).resolve().parents[1]
SITES = ("site_a", "site_b", "site_c", "site_d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to train, where, and how long."""

    output: Annotated[Path, Opt(short="-o")]
    """folder for the trainings and the table"""
    data: Path = ROOT.parent / "shared" / "data" / "hippocampus"
    """folder with site_a, site_b, site_c and site_d"""
    cells: tuple[str, ...] = ()
    """cells of the table; by default all"""
    seeds: tuple[int, ...] = (0,)
    """seeds to train with"""
    minutes: float = math.inf
    """stop after so many minutes, within a round; the same command goes on"""
    rounds: int = 24
    """rounds of every training"""
    iterations: int = 10
    """iterations of each site in a round"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellScores:
    """One training: the mean Dice of the global model at each of the four sites, by name.

    Bytes are of a round and site, the mean over the rounds after the first. `attacked` is the share
    of triggered cases whose structures were no longer found, where that was asked for.
    """

    cell: str
    seed: int
    dice: dict[str, float]
    bytes_to_site: float
    bytes_from_site: float
    attacked: float | None = None

    @property
    def mean(self) -> float:
        """The mean over sites."""
        return statistics.fmean(self.dice.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A training: its name, its federation, and what is done to the engine and after it."""

    name: str
    federation: Federation
    engine: Callable[[Engine], Engine] = lambda engine: engine
    after: Callable[[Path], float | None] = lambda run: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench(Timed):
    """The settings of a call; `shape` may change a plan, for tests."""

    options: Options
    shape: Callable[[Plan], Plan] = lambda plan: plan

    def base(self) -> Federation:
        """The four scanners, made where they are not there yet."""
        folder = self.options.output / "sites"
        if not folder.is_dir():
            building = folder.with_name(f".tmp-{os.getpid()}-sites")
            shutil.rmtree(building, ignore_errors=True)
            make_shifted(self.options.data, building)
            os.replace(building, folder)
        return read_federation(folder / "federation.toml")

    def plan(self) -> Plan:
        """The plan of the four scanners; all cells have it."""
        path = self.options.output / "plan.json"
        if not path.is_file():
            engine = simulation_engine(self.base(), self.options.output / "planning")
            records.write(self.shape(plan_together(engine, self.base()).plan), path)
        return read_plan(path)

    def run(self, cells: Iterable[Cell], seed: int) -> bool:
        """Train what is missing; whether all of it is done."""
        for cell in cells:
            path = self.path(cell.name, seed)
            if path.is_file() or (self.options.cells and cell.name not in self.options.cells):
                continue
            try:
                if self.is_over:
                    raise TimeIsUp
                records.write(self._train(cell, seed), path)
            except TimeIsUp:
                say_stopped()
                return False
            print(f"{cell.name}, seed {seed}: {self.read(cell.name, seed)}", flush=True)
        return True

    def path(self, name: str, seed: int) -> Path:
        """Where the scores of a training are stored."""
        return self.options.output / "cells" / f"{name}_{seed}.json"

    def read(self, name: str, seed: int) -> CellScores:
        """The scores of a training."""
        return records.read(CellScores, self.path(name, seed))

    def found(self, names: Iterable[str]) -> dict[str, list[CellScores]]:
        """What is stored of some cells, with the seeds of this call."""
        stored = {
            name: [self.read(name, s) for s in self.options.seeds if self.path(name, s).is_file()]
            for name in names
        }
        return {name: scores for name, scores in stored.items() if scores}

    def _train(self, cell: Cell, seed: int) -> CellScores:
        folder, plan = self.options.output / "runs" / f"{cell.name}_{seed}", self.plan()
        engine = cell.engine(
            simulation_engine(cell.federation, folder, plan=plan, prepared=self._prepared(cell))
        )
        records.write(plan, folder / "plan.json")
        records.write(cell.federation, folder / "federation.json")

        with using(threads_of_run(folder, 1)):
            if not (folder / SCORES).is_file():
                train_together(engine, cell.federation, plan, folder, observer=self.observe)
            scores = records.read(TrainingScores, folder / SCORES)
            model = next(model for model in scores.models if model.model == "global")
            history = load_records(folder / "rounds")
            rows = [row for record in history[1:] or history for row in record.sites.values()]
            return CellScores(
                cell=cell.name,
                seed=seed,
                dice={site: model.sites[site].mean("dice") for site in SITES},
                bytes_to_site=statistics.fmean(row.bytes_to_site for row in rows),
                bytes_from_site=statistics.fmean(row.bytes_from_site for row in rows),
                attacked=cell.after(folder),
            )

    def _prepared(self, cell: Cell) -> Path:
        """Cells with the same folders of sites share their prepared cases."""
        names = {site.folder.parent.name for site in cell.federation.sites.values()}
        return self.options.output / "prepared" / "_".join(sorted(names))


def run_seeds(
    argv: Sequence[str] | None,
    *,
    prog: str,
    about: str,
    cells: Callable[[Bench, int], Iterable[Cell]],
    write: Callable[[Bench], None],
    shape: Callable[[Plan], Plan],
) -> int:
    """The program of a benchmark: train what is missing seed by seed, and write its tables."""
    options = parse(Options, argv, prog=prog, about=about.splitlines()[0])

    def run() -> None:
        check_output(options.output)
        stop_at = minutes_from_now(options.minutes)
        bench = Bench(options=options, shape=shape, stop_at=stop_at)
        for seed in options.seeds:
            done = bench.run(cells(bench, seed), seed)
            write(bench)
            if not done:
                return

    return run_command(run)


def write_table(path: Path, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Write a table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    write_text(path, "".join(f"| {' | '.join(line)} |\n" for line in lines))


def mean_dice(scores: list[CellScores]) -> str:
    """The mean over sites and seeds, and the range over seeds where there are several."""
    means = [one.mean for one in scores]
    spread = f" ({min(means):.3f} to {max(means):.3f})" if len(means) > 1 else ""
    return f"{statistics.fmean(means):.3f}{spread}"


def by_site(scores: list[CellScores]) -> Mapping[str, float]:
    """The mean over seeds at each site."""
    return {site: statistics.fmean(one.dice[site] for one in scores) for site in SITES}
