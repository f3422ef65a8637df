"""fednnunet_evaluate: compute Dice, IoU, HD95 and ASSD of masks, per case, class and site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from rich.markup import escape
from rich.progress import Progress, TaskID

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.tables import print_table
from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.evaluation.folders import Pair, pair_cases, read_task, score_pairs
from fednnunet.evaluation.metrics import CaseScores
from fednnunet.evaluation.scores import SiteScores
from fednnunet.evaluation.tables import scores_table, write_cases_csv, write_scores_json
from fednnunet.task import Task
from fednnunet.text import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_evaluate."""

    predictions: Annotated[Path, Opt(positional=True)]
    """folder of predicted masks"""
    references: Annotated[Path, Opt(positional=True)]
    """folder of reference masks"""
    site: tuple[str, ...] = ()
    """NAME=FOLDER,...: the folder of each site's references in REFERENCES; its predictions are in
    PREDICTIONS/NAME if there is such a folder, else in PREDICTIONS"""
    task: Path | None = None
    """dataset.json, plan.json or federation.toml with the names of the labels; by default the
    dataset.json in REFERENCES or its parent"""
    output: Annotated[Path | None, Opt(short="-o")] = None
    """folder for scores.csv and scores.json; by default PREDICTIONS"""
    partial: bool = False
    """allow references without a prediction"""


def main(argv: Sequence[str] | None = None) -> int:
    """Score, write `scores.csv` and `scores.json`, print the table."""
    options = parse(Options, argv, prog="fednnunet_evaluate", about=__doc__ or "")
    return run_command(lambda: _evaluate(options))


def _evaluate(options: Options) -> None:
    check_output(options.output or options.predictions)
    sites = _sites(options)
    task = _task(options, [references for _, references in sites.values()])
    pairs = _pairs(sites, incomplete=options.partial)
    scores = _score(pairs, task)
    folder = options.output or options.predictions
    write_cases_csv(folder / "scores.csv", scores)
    write_scores_json(folder / "scores.json", task.targets, scores)
    sums = {site: SiteScores.of(task.targets, cases) for site, cases in scores.items()}
    console = PlainConsole(highlight=False)
    print_table(console, scores_table(task.targets, sums))
    for file in ("scores.csv", "scores.json"):
        console.print(str(folder / file), markup=False, soft_wrap=True)


def _sites(options: Options) -> dict[str, tuple[Path, Path]]:
    """Folders of predictions and references of each site."""
    if not options.site:
        return {"all": (options.predictions, options.references)}
    sites = {}
    for text in options.site:
        name, sign, folder = text.partition("=")
        if not (name and sign and folder) or name in sites:
            raise InputError(
                f"--site {text!r} is not name=folder, or names a site twice",
                mend="write --site north=north/labelsTs,south=south/labelsTs",
            )
        own = options.predictions / name
        predictions = own if own.is_dir() else options.predictions
        sites[name] = (predictions, options.references / folder)
    return sites


def _pairs(sites: dict[str, tuple[Path, Path]], *, incomplete: bool) -> dict[str, tuple[Pair, ...]]:
    pairs: dict[str, tuple[Pair, ...]] = {}
    faults: list[FedNNUNetError] = []
    for name, (predictions, references) in sites.items():
        try:
            pairs[name] = pair_cases(predictions, references, partial=incomplete)
        except FedNNUNetError as fault:
            faults.append(fault)
    raise_all("the masks cannot be matched", faults)
    return pairs


def _score(pairs: dict[str, tuple[Pair, ...]], task: Task) -> dict[str, tuple[CaseScores, ...]]:
    scores: dict[str, tuple[CaseScores, ...]] = {}
    faults: list[FedNNUNetError] = []
    with Progress(console=PlainConsole(stderr=True), transient=True) as bar:
        for name, own in pairs.items():
            row = bar.add_task(escape(printable(f"scoring {name}")), total=len(own))
            try:
                scores[name] = score_pairs(own, task, progress=partial(_advance, bar, row))
            except FedNNUNetError as fault:
                faults.append(fault)
            bar.update(row, completed=len(own))
    raise_all("some masks cannot be scored", faults)
    return scores


def _advance(bar: Progress, row: TaskID, done: int, total: int, what: str) -> None:
    bar.update(row, completed=done, total=total)


def _task(options: Options, references: Sequence[Path]) -> Task:
    if options.task is not None:
        return _read_any_task(options.task)
    for folder in references:
        for place in (folder, folder.parent):
            if (place / "dataset.json").is_file():
                return read_task(place / "dataset.json")
    raise InputError(
        "the names of the labels are not known",
        where=", ".join(str(folder) for folder in references),
        mend="put a dataset.json into the folder of references, or give one with --task",
    )


def _read_any_task(path: Path) -> Task:
    if path.suffix == ".toml":
        from fednnunet.federation.spec import read_federation

        return read_federation(path).task
    path = path / "plan.json" if path.is_dir() else path
    if path.name == "plan.json":
        from fednnunet.planning.plan import read_plan

        return read_plan(path).task
    return read_task(path)
