"""Segmentation metrics of one case: overlap and surface distances."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from fednnunet.errors import DataError, InputError
from fednnunet.evaluation.lesions import MATCH_IOU, LesionCounts, match_lesions
from fednnunet.evaluation.surfaces import Box, label_boxes, mask_box, surface_distances, united
from fednnunet.task import Task

METRICS = ("dice", "iou", "hd95_mm", "assd_mm")
"""The metrics whose sums a site shares."""
CASE_METRICS = ("dice", "iou", "nsd", "hd_mm", "hd95_mm", "assd_mm", "volume_difference_ml")
"""The metrics of a single case."""
RULE = (
    "A class that is in neither mask of a case is not scored there. If it is in the reference only "
    "(false negative) or in the prediction only (false positive), Dice, IoU and NSD are 0, and the "
    "distances are not defined: means leave them out, and the false cases are counted beside them."
)
"""How empty masks are scored, for the reader of a table."""
TOLERANCE_MM = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSettings:
    """What is computed beside the metrics without a setting. Raises InputError for bad values."""

    tolerance_mm: float = TOLERANCE_MM
    """The tolerance of NSD, for targets that `tolerances_mm` does not name."""
    tolerances_mm: dict[str, float] = field(default_factory=dict)
    """The tolerance of NSD of single targets."""
    lesions: bool = False
    """Match connected components, for sensitivity and precision per lesion."""
    lesion_iou: float = MATCH_IOU
    """Lesions are matched where their IoU is above this."""

    def __post_init__(self) -> None:
        for value in (self.tolerance_mm, *self.tolerances_mm.values()):
            if not 0 <= value < math.inf:
                raise InputError(
                    f"the tolerance of NSD is {value:g} mm", mend="give a length of 0 mm or more"
                )
        if not 0 <= self.lesion_iou < 1:
            raise InputError(
                f"lesions are to be matched above an IoU of {self.lesion_iou:g}",
                mend="give a share from 0 to below 1; 0.5 is the panoptic quality's",
            )

    def tolerance_of(self, target: str) -> float:
        """The tolerance of a target in mm."""
        return self.tolerances_mm.get(target, self.tolerance_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScore:
    """Metrics for one label or region of one case; NaN if a metric is not defined.

    `dice`, `iou` and `nsd` are NaN if the target is empty in both masks, and 0 if it is empty in
    one, as in nnU-Net. The distances are NaN if the target is empty in either mask.
    """

    dice: float
    iou: float
    hd95_mm: float
    assd_mm: float
    reference_vox: int
    predicted_vox: int
    hd_mm: float = math.nan
    nsd: float = math.nan
    reference_ml: float = math.nan
    predicted_ml: float = math.nan
    lesions: LesionCounts | None = None

    @property
    def volume_difference_ml(self) -> float:
        """Predicted volume minus the reference's; NaN if the target is empty in both masks."""
        both = self.reference_vox or self.predicted_vox
        return self.predicted_ml - self.reference_ml if both else math.nan

    @property
    def is_false_negative(self) -> bool:
        """Whether the reference has the target, and nothing of it was predicted."""
        return self.reference_vox > 0 and self.predicted_vox == 0

    @property
    def is_false_positive(self) -> bool:
        """Whether the target was predicted, and the reference does not have it."""
        return self.reference_vox == 0 and self.predicted_vox > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseScores:
    """The scores of one case, by the name of the target (`Task.targets`)."""

    case: str
    targets: dict[str, TargetScore] = field(default_factory=dict)

    @property
    def dice(self) -> float:
        """Mean Dice over the targets for which it is defined; NaN if there are none."""
        values = [s.dice for s in self.targets.values() if not math.isnan(s.dice)]
        return sum(values) / len(values) if values else math.nan


def score_mask(
    predicted: np.ndarray,
    reference: np.ndarray,
    spacing_mm: tuple[float, float, float],
    task: Task,
    *,
    case: str = "",
    settings: MetricSettings | None = None,
) -> CaseScores:
    """Score a label map (z, y, x) against its reference on the same grid.

    Voxels with the task's ignore value in the reference are left out in both masks. Each target is
    scored within the box around it in both maps. Raises DataError if the shapes differ.
    """
    if predicted.shape != reference.shape or predicted.ndim != 3:
        raise DataError(
            f"prediction has shape {list(predicted.shape)}, reference {list(reference.shape)}",
            where=case,
            mend="give two masks on the grid (z, y, x) of the same image",
        )
    settings = settings or MetricSettings()
    highest = len(task.labels) - 1
    boxes = [label_boxes(labels, highest) for labels in (predicted, reference)]
    targets = {}
    for name, values in target_values(task).items():
        box = united(own.get(value) for own in boxes for value in values)
        inside = box or (slice(0, 0),) * 3
        kept = None if task.ignore is None else reference[inside] != task.ignore
        ours, theirs = (_mask(labels[inside], values, kept) for labels in (predicted, reference))
        targets[name] = score_target(ours, theirs, spacing_mm, target=name, settings=settings)
    return CaseScores(case=case, targets=targets)


def target_values(task: Task) -> dict[str, tuple[int, ...]]:
    """The label values of each target."""
    if task.regions:
        return dict(task.regions)
    return {name: (value,) for value, name in enumerate(task.labels) if value}


def score_target(
    predicted: np.ndarray,
    reference: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    target: str = "",
    settings: MetricSettings | None = None,
) -> TargetScore:
    """Score one boolean mask (z, y, x) against another; `target` is its name in the settings."""
    settings = settings or MetricSettings()
    n_predicted, n_reference = int(predicted.sum()), int(reference.sum())
    common = int(np.logical_and(predicted, reference).sum())
    total = n_predicted + n_reference
    voxel_ml = math.prod(spacing_mm) / 1000
    box = _union_box(predicted, reference) or (slice(0, 0),) * 3
    distances = surface_distances(predicted[box], reference[box], spacing_mm)
    in_one = bool(n_predicted) != bool(n_reference)
    above = settings.lesion_iou
    return TargetScore(
        dice=2 * common / total if total else math.nan,
        iou=common / (total - common) if total else math.nan,
        nsd=0.0 if in_one else distances.nsd(settings.tolerance_of(target)),
        hd_mm=distances.hd_mm,
        hd95_mm=distances.hd95_mm,
        assd_mm=distances.assd_mm,
        reference_vox=n_reference,
        predicted_vox=n_predicted,
        reference_ml=n_reference * voxel_ml,
        predicted_ml=n_predicted * voxel_ml,
        lesions=match_lesions(predicted, reference, above_iou=above) if settings.lesions else None,
    )


def _mask(labels: np.ndarray, values: tuple[int, ...], kept: np.ndarray | None) -> np.ndarray:
    mask = labels == values[0] if len(values) == 1 else np.isin(labels, values)
    return mask if kept is None else mask & kept


def _union_box(first: np.ndarray, second: np.ndarray) -> Box | None:
    """The bounding box of both masks together; None if either is empty."""
    boxes = [mask_box(mask) for mask in (first, second)]
    return None if None in boxes else united(boxes)
