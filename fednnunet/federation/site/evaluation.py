"""Scores of a model on a site's held-out cases: sums for the reply, all else for the site alone.

Masks, pictures and the scores of single cases are written to the site's own folder and stay there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fednnunet import records
from fednnunet.dataset import Case
from fednnunet.errors import DataError, raise_all
from fednnunet.evaluation.metrics import CaseScores, TargetScore, score_mask, target_values
from fednnunet.evaluation.pictures import CasePicture, draw_case, pick_cases
from fednnunet.evaluation.postprocess import Postprocessing
from fednnunet.evaluation.scores import SiteScores
from fednnunet.evaluation.tables import write_cases_csv
from fednnunet.federation.site.ruled_scores import RuleRelease
from fednnunet.files import replacing
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import choose_compute
from fednnunet.inference.predict import mask_path, predict_cases
from fednnunet.io import read_label, read_volume
from fednnunet.preprocess.load import read_mapped_label
from fednnunet.progress import Progress
from fednnunet.supervision import Supervision
from fednnunet.task import Task
from fednnunet.volume import Volume

CASES = "scores.csv"  # in the folder of masks
_PICTURES = "pictures.json"
_UNKNOWN = TargetScore(
    dice=math.nan,
    iou=math.nan,
    hd95_mm=math.nan,
    assd_mm=math.nan,
    reference_vox=0,
    predicted_vox=0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """A picture in the folder, named by its rank."""

    rank: str
    case: str
    dice: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pictures:
    pictures: tuple[_Picture, ...] = ()


def evaluate_at_site(
    bundle: Bundle,
    cases: Sequence[Case],
    folder: Path,
    *,
    device: str,
    pictures: bool = True,
    rule: RuleRelease | None = None,
    progress: Progress | None = None,
) -> SiteScores:
    """Predict the cases into `folder`, score them there, and return sums over them.

    Of a case whose labels annotate only some classes, other targets are not scored, since its map
    says nothing of them. Masks that are there already, made from the
    same bundle and images, are kept. With `pictures` the worst, median and best case are drawn into
    `folder`. With a `rule` masks are scored after its post-processing as well, and the sums are of
    what it releases; masks and the scores of single cases in the folder stay as they are. Raises
    the faults of all cases that cannot be predicted together.
    """
    task = bundle.plan.task
    compute = choose_compute(device)
    outcome = predict_cases(bundle, cases, folder, compute=compute, progress=progress)
    raise_all("held-out cases could not be predicted", outcome.faults)
    scores = _scores(cases, folder, task, None)
    if rule is None or not (folder / CASES).is_file():
        write_cases_csv(folder / CASES, {"": scores})
    if pictures:
        _draw(scores, {case.name: case for case in cases}, folder, task)
    if rule is not None:
        ruled = rule.release(scores, _scores(cases, folder, task, rule.rule))
        return SiteScores.of(task.targets, ruled)
    return SiteScores.of(task.targets, scores)


def read_pictures(folder: Path) -> tuple[CasePicture, ...]:
    """The pictures in a folder of `evaluate_at_site`: the worst, median and best case."""
    if not (folder / _PICTURES).is_file():
        return ()
    return tuple(
        CasePicture(
            case=found.case,
            rank=found.rank,
            dice=found.dice,
            png=_picture_path(folder, found.rank).read_bytes(),
        )
        for found in records.read(_Pictures, folder / _PICTURES).pictures
    )


def _scores(
    cases: Sequence[Case], folder: Path, task: Task, rule: Postprocessing | None
) -> list[CaseScores]:
    return [
        _annotated_only(_score(case, folder, task, rule), task, case.labels.supervision)
        for case in cases
    ]


def _score(case: Case, folder: Path, task: Task, rule: Postprocessing | None) -> CaseScores:
    predicted, reference = _masks(case, folder)
    spacing, mask = reference.spacing_mm, predicted.array[0]
    mask = mask if rule is None else rule.apply(mask, spacing, task)
    return score_mask(mask, reference.array[0], spacing, task, case=case.name)


def _annotated_only(score: CaseScores, task: Task, supervision: Supervision) -> CaseScores:
    """The scores with NaN for every target of which some class is not annotated."""
    targets = {
        name: score.targets[name] if supervision.covers(values, task) else _UNKNOWN
        for name, values in target_values(task).items()
    }
    return CaseScores(case=score.case, targets=targets)


def _masks(case: Case, folder: Path) -> tuple[Volume, Volume]:
    if case.label is None:
        raise DataError(
            f"case {case.name} has no label map, so it cannot be scored",
            mend="add its label map to the site's folder, or take out the case",
        )
    return read_label(mask_path(folder, case)), read_mapped_label(case)


def _draw(scores: Sequence[CaseScores], cases: dict[str, Case], folder: Path, task: Task) -> None:
    pictures: list[_Picture] = []
    for rank, score in pick_cases(scores):
        case = cases[score.case]
        predicted, reference = _masks(case, folder)
        image = read_volume(case.images)
        with replacing(_picture_path(folder, rank)) as temporary:
            planes = 3 if not pictures else 1  # the worst, or only one
            temporary.write_bytes(
                draw_case(image, predicted.array[0], reference.array[0], task, planes=planes)
            )
        pictures.append(_Picture(rank=rank, case=case.name, dice=score.dice))
    records.write(_Pictures(pictures=tuple(pictures)), folder / _PICTURES)


def _picture_path(folder: Path, rank: str) -> Path:
    return folder / f"{rank}.png"
