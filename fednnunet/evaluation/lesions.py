"""Lesions, one by one: connected components of the prediction matched with the reference's.

Each voxel cluster (26 neighbours) is a lesion. Lesions are matched one to one, those of the largest
IoU first, where the IoU is above a threshold; from 0.5 on no other matching is possible, and the
result is the panoptic quality of Kirillov et al., "Panoptic segmentation", CVPR 2019 (recognition
and segmentation quality as in Kofler et al., "panoptica", 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

MATCH_IOU = 0.5
_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionCounts:
    """How many lesions were found. Counts of several cases merge by `+`."""

    reference: int = 0
    predicted: int = 0
    matched: int = 0
    iou_sum: float = 0.0
    """Sum of the IoU of the matched pairs."""

    def __add__(self, other: LesionCounts) -> LesionCounts:
        return LesionCounts(
            reference=self.reference + other.reference,
            predicted=self.predicted + other.predicted,
            matched=self.matched + other.matched,
            iou_sum=self.iou_sum + other.iou_sum,
        )

    @property
    def sensitivity(self) -> float:
        """The share of the reference's lesions that were found; NaN if it has none."""
        return _share(self.matched, self.reference)

    @property
    def precision(self) -> float:
        """The share of the predicted lesions that are right; NaN if there are none."""
        return _share(self.matched, self.predicted)

    @property
    def f1(self) -> float:
        """Recognition quality: F1 of sensitivity and precision; NaN without any lesion."""
        return _share(2 * self.matched, self.reference + self.predicted)

    @property
    def mean_iou(self) -> float:
        """Segmentation quality: mean IoU of the matched lesions; NaN if none was matched."""
        return _share(self.iou_sum, self.matched)

    @property
    def panoptic_quality(self) -> float:
        """Recognition times segmentation quality; NaN without any lesion."""
        return _share(2 * self.iou_sum, self.reference + self.predicted)


def match_lesions(
    predicted: np.ndarray, reference: np.ndarray, *, above_iou: float = MATCH_IOU
) -> LesionCounts:
    """Match the lesions of two bool masks (z, y, x) on one grid, at an IoU above `above_iou`."""
    ours, n_ours = ndimage.label(predicted, _NEIGHBOURS)
    theirs, n_theirs = ndimage.label(reference, _NEIGHBOURS)
    both = predicted & reference
    pairs, common = np.unique(
        ours[both].astype(np.int64) * (n_theirs + 1) + theirs[both], return_counts=True
    )
    first, second = np.divmod(pairs, n_theirs + 1)
    union = np.bincount(ours.ravel())[first] + np.bincount(theirs.ravel())[second] - common
    iou = common / union
    used: tuple[set[int], set[int]] = (set(), set())
    matched, iou_sum = 0, 0.0
    for index in np.argsort(-iou, kind="stable"):
        a, b = int(first[index]), int(second[index])
        if iou[index] <= above_iou or a in used[0] or b in used[1]:
            continue
        used[0].add(a)
        used[1].add(b)
        matched, iou_sum = matched + 1, iou_sum + float(iou[index])
    return LesionCounts(reference=n_theirs, predicted=n_ours, matched=matched, iou_sum=iou_sum)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
