"""Scores per image: is a class there or not, against labels of presence.

A class counts as found in a case if any voxel of it was predicted. The area under the ROC curve
takes the predicted volume as the score of a case, with ties counted half (Hanley and McNeil,
Radiology 1982).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fednnunet.evaluation.metrics import CaseScores, target_values
from fednnunet.task import Task

Truth = Mapping[str, Mapping[str, bool]]
"""Of each case, which targets it has; those that are not named are unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLevel:
    """How well the presence of one target is told, over the cases whose presence is known.

    A share is NaN if it is of no case: all need cases, balanced accuracy and AUC need both cases
    with and without the target.
    """

    present: int
    """Cases that have the target."""
    absent: int
    """Cases that lack it."""
    accuracy: float
    balanced_accuracy: float
    """Mean of sensitivity and specificity."""
    f1: float
    auc: float


def image_level(task: Task, cases: Sequence[CaseScores], truth: Truth) -> dict[str, ImageLevel]:
    """The scores of each target of which the presence is known in some of the `cases`."""
    found = {}
    for target in target_values(task):
        known = [
            (
                truth[case.case][target],
                case.targets[target].predicted_vox > 0,
                case.targets[target].predicted_ml,
            )
            for case in cases
            if target in truth.get(case.case, {})
        ]
        if known:
            found[target] = score_presence(*zip(*known, strict=True))
    return found


def score_presence(
    truth: Sequence[bool], predicted: Sequence[bool], score: Sequence[float]
) -> ImageLevel:
    """The scores of one target: per case its presence, its prediction, and how sure that is."""
    there, said = np.asarray(truth, bool), np.asarray(predicted, bool)
    present, absent = int(there.sum()), int((~there).sum())
    right = int((there & said).sum())
    sensitivity = _share(right, present)
    specificity = _share(int((~there & ~said).sum()), absent)
    return ImageLevel(
        present=present,
        absent=absent,
        accuracy=_share(int((there == said).sum()), there.size),
        balanced_accuracy=(sensitivity + specificity) / 2,
        f1=_share(2 * right, present + int(said.sum())),
        auc=_auc(there, np.asarray(score, np.float64)),
    )


def presence_of_targets(task: Task, present: Mapping[int, bool]) -> dict[str, bool]:
    """Which targets a case has, from what is known of its label values.

    A region is there if one of its values is, and absent if all are.
    """
    found = {}
    for target, values in target_values(task).items():
        known = [present[value] for value in values if value in present]
        if any(known):
            found[target] = True
        elif len(known) == len(values):
            found[target] = False
    return found


def _auc(there: np.ndarray, score: np.ndarray) -> float:
    """The chance that a case with the target has the higher score than one without it."""
    present, absent = int(there.sum()), int((~there).sum())
    if not present or not absent:
        return math.nan
    ranks = stats.rankdata(score)
    return float((ranks[there].sum() - present * (present + 1) / 2) / (present * absent))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
