"""The cases that a reader should see first: those with the lowest Dice, and their pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fednnunet import io
from fednnunet.errors import FedNNUNetError
from fednnunet.evaluation.evaluated import Evaluation
from fednnunet.evaluation.folders import Pair, read_pair
from fednnunet.evaluation.metrics import CaseScores
from fednnunet.evaluation.pictures import draw_case
from fednnunet.volume import Volume

POOR_DICE = 0.5
"""Below this Dice a target of a case has failed."""
_SIBLINGS = {"labelsTr": "imagesTr", "labelsTs": "imagesTs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One target of one case that failed: which way, and its Dice."""

    site: str
    case: str
    target: str
    what: str
    dice: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownCase:
    """A case with its picture (a PNG's bytes), and the place of its page in the viewer, if any."""

    site: str
    scores: CaseScores
    png: bytes
    link: str = ""


def failures_of(found: Evaluation) -> tuple[Failure, ...]:
    """Every target of every case that failed, the worst first."""
    failed = [
        Failure(site=site, case=case.case, target=name, what=what, dice=score.dice)
        for site, cases in found.cases.items()
        for case in cases
        for name, score in case.targets.items()
        if (
            what := "not found"
            if score.is_false_negative
            else "found where there is none"
            if score.is_false_positive
            else f"Dice below {POOR_DICE:g}"
            if score.dice < POOR_DICE
            else ""
        )
    ]
    return tuple(sorted(failed, key=lambda f: (f.dice, f.site, f.case, f.target)))


def worst_cases(found: Evaluation, count: int) -> tuple[tuple[str, CaseScores], ...]:
    """The site and scores of the `count` cases with the lowest mean Dice, the lowest first."""
    ranked = [
        (site, case)
        for site, cases in found.cases.items()
        for case in cases
        if not math.isnan(case.dice)
    ]
    ranked.sort(key=lambda pair: (pair[1].dice, pair[0], pair[1].case))
    return tuple(ranked[:count])


def image_of(pair: Pair, images: Path | None = None) -> Path | None:
    """The first channel of a case: in `images`, or beside the folder of references.

    For references in labelsTr or labelsTs that is imagesTr or imagesTs; None if it is not there.
    """
    folder = pair.reference.parent
    if images is None and folder.name in _SIBLINGS:
        images = folder.with_name(_SIBLINGS[folder.name])
    if images is None:
        return None
    paths = (images / f"{pair.case}_0000{ending}" for ending in io.ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def draw_worst(
    found: Evaluation, count: int, *, images: Path | None = None
) -> Iterator[tuple[ShownCase, Pair, Path | None]]:
    """The worst cases in three planes, each with its masks and its image, if there is one.

    Without an image on the grid of the masks, the masks are shown on black.
    """
    pairs = {(site, pair.case): pair for site, own in found.pairs.items() for pair in own}
    for site, scores in worst_cases(found, count):
        pair = pairs[site, scores.case]
        predicted, reference = read_pair(pair, found.task)
        path = image_of(pair, images)
        image = _image(path, reference)
        if image is None:
            path, image = None, _black(reference)
        png = draw_case(image, predicted.array[0], reference.array[0], found.task, planes=3)
        yield ShownCase(site=site, scores=scores, png=png), pair, path


def _image(path: Path | None, reference: Volume) -> Volume | None:
    """The image, if it can be read and is on the grid of its masks."""
    try:
        image = io.read_volume((path,)) if path else None
    except FedNNUNetError:
        return None
    return image if image and not io.grid_difference(reference, image) else None


def _black(reference: Volume) -> Volume:
    array = np.zeros((1, *reference.shape_vox), np.float32)
    return Volume(array=array, geometry=reference.geometry)
