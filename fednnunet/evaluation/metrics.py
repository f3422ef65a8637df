"""Segmentation metrics of one case: overlap and surface distances."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from fednnunet.errors import DataError
from fednnunet.task import Task

METRICS = ("dice", "iou", "hd95_mm", "assd_mm")

_CROSS = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScore:
    """Metrics for one label or region of one case; NaN if a metric is not defined.

    `dice` and `iou` are NaN if the target is empty in both masks, and 0 if it is empty in one, as
    in nnU-Net. The distances are NaN if the target is empty in either mask.
    """

    dice: float
    iou: float
    hd95_mm: float
    assd_mm: float
    reference_vox: int
    predicted_vox: int

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
) -> CaseScores:
    """Score a label map (z, y, x) against its reference on the same grid.

    Voxels with the task's ignore value in the reference are left out in both masks. Raises
    DataError if the shapes differ.
    """
    if predicted.shape != reference.shape or predicted.ndim != 3:
        raise DataError(
            f"prediction has shape {list(predicted.shape)}, reference {list(reference.shape)}",
            where=case,
            mend="give two masks on the grid (z, y, x) of the same image",
        )
    kept = None if task.ignore is None else reference != task.ignore
    targets = {}
    for name, values in target_values(task).items():
        ours, theirs = _mask(predicted, values, kept), _mask(reference, values, kept)
        targets[name] = score_target(ours, theirs, spacing_mm)
    return CaseScores(case=case, targets=targets)


def target_values(task: Task) -> dict[str, tuple[int, ...]]:
    """The label values of each target."""
    if task.regions:
        return dict(task.regions)
    return {name: (value,) for value, name in enumerate(task.labels) if value}


def score_target(
    predicted: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, float, float]
) -> TargetScore:
    """Score one boolean mask (z, y, x) against another."""
    n_predicted, n_reference = int(predicted.sum()), int(reference.sum())
    common = int(np.logical_and(predicted, reference).sum())
    total = n_predicted + n_reference
    distances = surface_distances_mm(predicted, reference, spacing_mm)
    return TargetScore(
        dice=2 * common / total if total else math.nan,
        iou=common / (total - common) if total else math.nan,
        hd95_mm=float(np.percentile(distances, 95)) if distances.size else math.nan,
        assd_mm=float(distances.mean()) if distances.size else math.nan,
        reference_vox=n_reference,
        predicted_vox=n_predicted,
    )


def surface_distances_mm(
    predicted: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Distances in mm from each surface voxel of either mask to the nearest one of the other.

    A surface voxel is a voxel of the mask with a face neighbour that is not in the mask or not in
    the image. Distances are between voxel centres. The vector holds both directions, so that its
    95th percentile is HD95 as defined by MedPy, and its mean is ASSD. It is empty if either mask
    is. Nearest neighbours come from a k-d tree, which is exact for anisotropic voxels and needs
    memory in proportion to the surface only.
    """
    box = _union_box(predicted, reference)
    if box is None:
        return np.zeros(0)
    ours = _surface_mm(predicted[box], spacing_mm)
    theirs = _surface_mm(reference[box], spacing_mm)
    there, _ = cKDTree(theirs).query(ours)
    back, _ = cKDTree(ours).query(theirs)
    return np.concatenate([there, back])


def _mask(labels: np.ndarray, values: tuple[int, ...], kept: np.ndarray | None) -> np.ndarray:
    mask = labels == values[0] if len(values) == 1 else np.isin(labels, values)
    return mask if kept is None else mask & kept


def _union_box(first: np.ndarray, second: np.ndarray) -> tuple[slice, ...] | None:
    """The bounding box of both masks together; None if either is empty."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        inside = [np.flatnonzero(mask.any(axis=others)) for mask in (first, second)]
        if any(not indices.size for indices in inside):
            return None
        low = min(int(indices[0]) for indices in inside)
        box.append(slice(low, max(int(indices[-1]) for indices in inside) + 1))
    return tuple(box)


def _surface_mm(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Surface voxel centres (n, 3) in mm. Voxels beyond the array are not in the mask."""
    inner = ndimage.binary_erosion(mask, _CROSS, border_value=0)
    return np.argwhere(mask & ~inner) * np.asarray(spacing_mm, dtype=np.float64)
