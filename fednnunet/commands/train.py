"""fednnunet_train: train a planned federation in rounds, evaluate it, and write its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Table

from fednnunet import records
from fednnunet.api.train import train
from fednnunet.commands.board import open_board
from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.progress import bars
from fednnunet.commands.report_run import report_run
from fednnunet.commands.round_lines import RoundLines
from fednnunet.commands.site_faults import show_fault
from fednnunet.commands.tables import print_table
from fednnunet.commands.training_watch import TrainingWatch, slow_hint
from fednnunet.errors import InputError
from fednnunet.evaluation.report import left_out, summarise
from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.coordinator.rounds import Run
from fednnunet.federation.site.report import REPORT as SITE_REPORT
from fednnunet.federation.workflows.simulation import SITES
from fednnunet.federation.workflows.train import (
    SCORES,
    Observer,
    TrainingScores,
)

PLANNED = ("federation.json", "plan.json")  # that fednnunet_plan writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_train."""

    run: Annotated[Path, Opt(positional=True)]
    """run folder, made by fednnunet_plan"""
    start: Annotated[Path | None, Opt(short="--from")] = None
    """bundle whose weights the training starts from, instead of random ones"""
    device: str | None = None
    """auto, cpu, cuda, cuda:1 or mps; by default that of the federation file"""


def main(argv: Sequence[str] | None = None) -> int:
    """Train, or continue an interrupted training."""
    options = parse(Options, argv, prog="fednnunet_train", about=__doc__ or "")
    return run_command(lambda: _train(options), private=True)


def _train(options: Options) -> None:
    folder = options.run
    _check_planned(folder)
    check_output(folder)
    console = PlainConsole(highlight=False)
    board = open_board(folder)
    lines = RoundLines(console)

    def observe(run: Run, record: RoundRecord) -> None:
        for observer in observers:
            observer(run, record)

    with bars(console) as progress:
        watch = TrainingWatch(console, progress.whole, hint=slow_hint(folder, options.device))
        observers: list[Observer] = [lines, watch.round, *([board] if board else [])]
        train(
            folder,
            start=options.start,
            device=options.device,
            progress=progress,
            observer=observe,
            on_fault=show_fault,
            on_note=lambda note: console.print(note, markup=False),
            watch=watch,
        )
    show_scores(folder, console)
    console.print(f"report: {report_run(folder)}", markup=False)
    own = folder / SITES / "NAME" / SITE_REPORT
    console.print(f"each site's own, with pictures of its cases: {own}", markup=False)


def _check_planned(folder: Path) -> None:
    """Raise InputError, with the command to run, for anything but the folder of a planned run."""
    if folder.suffix == ".toml":
        run = folder.with_suffix("")
        raise InputError(
            f"{folder.name} is a federation file; training needs a run folder",
            where=str(folder),
            mend=f"run: fednnunet_plan {folder} -o {run} && fednnunet_train {run}",
        )
    missing = [name for name in PLANNED if not (folder / name).is_file()]
    if missing:
        there = f"the run folder {folder.name} has no {' and no '.join(missing)}"
        raise InputError(
            there if folder.is_dir() else f"there is no run folder {folder.name}",
            where=str(folder),
            mend=f"plan first, run: fednnunet_plan FEDERATION.toml -o {folder}",
        )


def show_scores(folder: Path, console: Console) -> None:
    """Print a table of the Dice per site of each model in a run folder."""
    scores = records.read(TrainingScores, folder / SCORES)
    for note in scores.notes:
        console.print(note, markup=False)
    sites = sorted({site for model in scores.models for site in model.sites})
    table = Table(title="mean Dice on held-out cases", title_justify="left")
    table.add_column("model")
    for site in sites:
        table.add_column(site, justify="right")
    table.add_column("mean of sites", justify="right")
    for label, model in zip(scores.labels, scores.models, strict=True):
        values = {site: sums.mean("dice") for site, sums in model.sites.items() if sums.cases}
        cells = [f"{values[site]:.3f}" if site in values else "-" for site in sites]
        mean = f"{summarise(values, external=scores.external).mean:.3f}" if values else "-"
        kept = ", best rounds" if model.keep == "best" else ""
        table.add_row(f"{label} ({model.method}{kept})", *cells, mean)
    print_table(console, table)
    if without := left_out(scores.external, sites):
        console.print(f"means over sites {without}", markup=False)
