"""fednnunet_evaluate: compute Dice, IoU, HD95 and ASSD of masks, per case, class and site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.markup import escape
from rich.progress import Progress, TaskID

from fednnunet.api.evaluate import evaluate
from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.tables import print_table
from fednnunet.errors import InputError
from fednnunet.evaluation.tables import scores_table, write_cases_csv, write_scores_json
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
    folder = options.output or options.predictions
    check_output(folder)
    with Progress(console=PlainConsole(stderr=True), transient=True) as bar:
        rows: dict[str, TaskID] = {}

        def show(site: str, done: int, total: int, what: str) -> None:
            if site not in rows:
                rows[site] = bar.add_task(escape(printable(f"scoring {site}")), total=total)
            bar.update(rows[site], completed=done, total=total)

        found = evaluate(
            options.predictions,
            options.references,
            sites=_sites(options),
            task=options.task,
            partial=options.partial,
            progress=show,
        )
    write_cases_csv(folder / "scores.csv", found.cases)
    write_scores_json(folder / "scores.json", found.task.targets, found.cases)
    console = PlainConsole(highlight=False)
    print_table(console, scores_table(found.task.targets, found.sums))
    for file in ("scores.csv", "scores.json"):
        console.print(str(folder / file), markup=False, soft_wrap=True)


def _sites(options: Options) -> dict[str, Path]:
    """The folder of references of each site."""
    sites: dict[str, Path] = {}
    for text in options.site:
        name, sign, folder = text.partition("=")
        if not (name and sign and folder) or name in sites:
            raise InputError(
                f"--site {text!r} is not name=folder, or names a site twice",
                mend="write --site north=north/labelsTs,south=south/labelsTs",
            )
        sites[name] = Path(folder)
    return sites
