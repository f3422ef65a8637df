"""List a site's label maps that a trained model contradicts, for a clinician to look at.

    python preprocessing/review_labels.py SITE BUNDLE -o OUT
    python preprocessing/review_labels.py SITE BUNDLE -o OUT --wrong wrong.txt

The first call predicts the site's cases and writes OUT/review.html with pictures, the most doubtful
case first. The second takes the list that the page saved and writes OUT/doubtful.json, which the
site names in its site.toml for `training.noisy`. Nothing is sent, and no label map is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.progress import bars
from fednnunet.dataset import read_dataset
from fednnunet.errors import InputError, raise_all
from fednnunet.evaluation.doubtful import read_wrong
from fednnunet.evaluation.label_faults import SURE
from fednnunet.evaluation.label_review import PAGE, LabelReview, write_doubtful

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the review."""

    folder: Annotated[Path, Opt(positional=True)]
    """the site's folder in nnU-Net raw layout"""
    bundle: Annotated[str, Opt(positional=True)]
    """bundle folder, best of a model that did not train on these cases; several, separated by
    commas, form an ensemble"""
    output: Annotated[Path, Opt(short="-o")]
    """folder for masks, corrected label maps and review.html; it stays at the site"""
    wrong: Path | None = None
    """the list that review.html saved: write OUTPUT/doubtful.json"""
    weight: float = 0.1
    """with --wrong: how often these cases are sampled with "down-weight", from 0 to 1"""
    sure: float = SURE
    """entropy, from 0 to 1, up to which a voxel takes the model's label in a corrected map"""
    mirror: bool = False
    """test-time augmentation by mirroring: 8 times the work; not for the recipe fast"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps"""
    overwrite: bool = False
    """also predict cases that already have a mask"""


def main(argv: Sequence[str] | None = None) -> int:
    """Review a folder, or take over a reader's list; continues if interrupted."""
    options = parse(Options, argv, prog="review_labels.py", about=__doc__ or "")
    work = _review if options.wrong is None else _take_over
    return run_command(lambda: work(options), private=True)


def _review(options: Options) -> None:
    from fednnunet.inference.bundle import read_bundle
    from fednnunet.inference.compute import choose_compute
    from fednnunet.inference.review_labels import review_labels

    check_output(options.output)
    if not 0 <= options.sure <= 1:
        raise InputError(f"--sure is {options.sure:g}", mend="give an entropy from 0 to 1")
    bundles = [read_bundle(Path(name)) for name in options.bundle.split(",") if name]
    if not bundles:
        raise InputError("no bundle was given", mend="give at least one bundle")
    site = options.folder.resolve().name
    cases = read_dataset(options.folder, bundles[0].plan.task, site=site).cases
    console = PlainConsole(highlight=False, soft_wrap=True)
    with bars(console) as progress:
        reviewed = review_labels(
            bundles,
            cases,
            options.output,
            compute=choose_compute(options.device),
            sure=options.sure,
            mirror=options.mirror,
            overwrite=options.overwrite,
            progress=lambda done, total, what: progress(site, done, total, what),
        )
    _show(reviewed.review, options.output, console)
    raise_all("some cases could not be reviewed", reviewed.outcome.faults)


def _show(review: LabelReview, folder: Path, console: Console) -> None:
    for rank, case in enumerate(review.cases[:_SHOWN], start=1):
        words = "; ".join(case.findings) or "nothing in particular"
        line = f"{rank:3d}. {case.case}: disagreement {case.disagreement:.2f}, {words}"
        console.print(line, markup=False)
    console.print(f"{len(review.cases)} label maps reviewed", markup=False)
    console.print(f"to look at them, at this site only: {folder / PAGE}", markup=False)


def _take_over(options: Options) -> None:
    assert options.wrong is not None
    wrong = read_wrong(options.wrong)
    path = write_doubtful(options.output, wrong, weight=options.weight)
    console = PlainConsole(highlight=False, soft_wrap=True)
    right = sum(wrong.values())
    console.print(f"{len(wrong)} cases are doubtful, {right} with a corrected map", markup=False)
    console.print(
        f'name them in the site\'s site.toml: doubtful_labels = "{path.resolve()}"', markup=False
    )


if __name__ == "__main__":
    raise SystemExit(main())
