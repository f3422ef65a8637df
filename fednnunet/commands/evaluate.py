"""fednnunet_evaluate: overlap, surface and volume metrics of masks, per case, class and site."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.markup import escape
from rich.progress import Progress, TaskID

from fednnunet.api.evaluate import evaluate
from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.tables import print_table
from fednnunet.errors import InputError
from fednnunet.evaluation.evaluated import Evaluation
from fednnunet.evaluation.folders import read_pair
from fednnunet.evaluation.lesions import MATCH_IOU
from fednnunet.evaluation.metrics import RULE, TOLERANCE_MM, MetricSettings
from fednnunet.evaluation.printed import image_table, lesions_table, scores_table
from fednnunet.evaluation.scores_page import write_scores_page
from fednnunet.evaluation.tables import write_cases_csv, write_scores_json, write_summary_csv
from fednnunet.evaluation.viewer import write_viewer
from fednnunet.evaluation.worst_cases import ShownCase, draw_worst
from fednnunet.io import read_volume
from fednnunet.text import printable

VIEWER = "viewer"  # folder of the viewer's pages, beside scores.html


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
    """folder for scores.csv, summary.csv, scores.json and scores.html; by default PREDICTIONS"""
    tolerance_mm: tuple[str, ...] = (f"{TOLERANCE_MM:g}",)
    """tolerance of NSD in mm; NAME=MM,... for single targets"""
    lesions: bool = False
    """match connected components: sensitivity and precision per lesion"""
    lesion_iou: float = MATCH_IOU
    """IoU above which a predicted lesion is a lesion of the reference"""
    presence: Path | None = None
    """table of which classes cases have (case,label,present): ACC, BACC, F1 and AUC per case"""
    images: Path | None = None
    """folder of the images (case_0000.nii.gz) for the page's pictures; by default imagesTs or
    imagesTr beside labelsTs or labelsTr"""
    pictures: int = 6
    """number of worst cases that the page shows; with 0 it shows no patient's image"""
    viewer: bool = False
    """also write a page of the viewer for each of these worst cases, and link to it"""
    partial: bool = False
    """allow references without a prediction"""


def main(argv: Sequence[str] | None = None) -> int:
    """Score, write tables and the page, print the table."""
    options = parse(Options, argv, prog="fednnunet_evaluate", about=__doc__ or "")
    return run_command(lambda: _evaluate(options), private=True)


def _evaluate(options: Options) -> None:
    folder = options.output or options.predictions
    check_output(folder)
    settings = _settings(options)
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
            presence=options.presence,
            settings=settings,
            partial=options.partial,
            progress=show,
        )
    write_cases_csv(folder / "scores.csv", found.cases)
    write_summary_csv(folder / "summary.csv", found.statistics)
    write_scores_json(folder / "scores.json", found)
    shown = list(_worst(found, folder, options))
    write_scores_page(folder / "scores.html", found, shown)
    _print(found, folder)


def _worst(found: Evaluation, folder: Path, options: Options) -> Iterator[ShownCase]:
    """The worst cases, with links to pages of the viewer if these were asked for."""
    worst = draw_worst(found, options.pictures, images=options.images)
    for number, (case, pair, image) in enumerate(worst, start=1):
        if not options.viewer or image is None:
            yield case
            continue
        link = f"{VIEWER}/worst_{number}.html"
        masks = dict(zip(("prediction", "reference"), read_pair(pair, found.task), strict=True))
        title = f"{case.site}: {case.scores.case}"
        labels = found.task.labels
        write_viewer(folder / link, read_volume((image,)), masks, labels=labels, title=title)
        yield dataclasses.replace(case, link=link)


def _print(found: Evaluation, folder: Path) -> None:
    console = PlainConsole(highlight=False)
    statistics = found.statistics
    print_table(console, scores_table(statistics))
    if lesions := lesions_table(statistics):
        print_table(console, lesions)
    if found.image_level:
        print_table(console, image_table(found.image_level))
    tolerances = {name: found.settings.tolerance_of(name) for name in found.task.targets}
    same = len(set(tolerances.values())) == 1
    words = [f"{mm:g} mm" if same else f"{mm:g} mm for {name}" for name, mm in tolerances.items()]
    console.print(f"NSD at {', '.join(words[:1] if same else words)}. {RULE}")
    for file in ("scores.csv", "summary.csv", "scores.json", "scores.html"):
        console.print(str(folder / file), markup=False, soft_wrap=True)


def _settings(options: Options) -> MetricSettings:
    """The settings of the metrics; raises InputError for a tolerance that is no length."""
    usual, single = TOLERANCE_MM, {}
    for text in options.tolerance_mm:
        name, sign, length = text.rpartition("=")
        try:
            value = float(length)
        except ValueError:
            raise InputError(
                f"--tolerance-mm {text!r} is no length",
                mend="write --tolerance-mm 2 or --tolerance-mm 2,tumour=1",
            ) from None
        if sign:
            single[name] = value
        else:
            usual = value
    return MetricSettings(
        tolerance_mm=usual,
        tolerances_mm=single,
        lesions=options.lesions,
        lesion_iou=options.lesion_iou,
    )


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
