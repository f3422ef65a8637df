"""How well one mask agrees with another: overlap and distance between surfaces."""

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
    """Agreement on one label or region of one case; NaN where a metric has no meaning.

    `dice` and `iou` are NaN if the target is empty in both masks and 0 if in one, as nnU-Net
    counts them. The distances are NaN if either mask is empty: see `missed` and `invented`.
    """

    dice: float
    iou: float
    hd95_mm: float
    assd_mm: float
    reference_vox: int
    predicted_vox: int

    @property
    def missed(self) -> bool:
        """The target is in the reference, and nothing of it was predicted."""
        return self.reference_vox > 0 and self.predicted_vox == 0

    @property
    def invented(self) -> bool:
        """The target was predicted, and the reference has none of it."""
        return self.reference_vox == 0 and self.predicted_vox > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseScores:
    """The scores of one case, by the name of the target (`Task.targets`)."""

    case: str
    targets: dict[str, TargetScore] = field(default_factory=dict)

    @property
    def dice(self) -> float:
        """Mean Dice over the targets that have one; NaN if none has."""
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

    Voxels that the reference marks with the task's ignore value belong to no target in either
    mask. Raises DataError if the shapes differ.
    """
    if predicted.shape != reference.shape or predicted.ndim != 3:
        raise DataError(
            f"prediction has shape {list(predicted.shape)}, reference {list(reference.shape)}",
            where=case,
            mend="both must be on the grid (z, y, x) of the same image",
        )
    kept = None if task.ignore is None else reference != task.ignore
    targets = {}
    for name, values in target_values(task).items():
        ours, theirs = _mask(predicted, values, kept), _mask(reference, values, kept)
        targets[name] = score_target(ours, theirs, spacing_mm)
    return CaseScores(case=case, targets=targets)


def target_values(task: Task) -> dict[str, tuple[int, ...]]:
    """The label values that each target unites."""
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
    """From every surface voxel of either mask to the nearest of the other, in one vector, in mm.

    A surface voxel is one of the mask's that has a face neighbour outside the mask; outside the
    image is outside the mask. Distances run between voxel centres. The vector pools both
    directions, so its 95th percentile is HD95 and its mean ASSD, as MedPy defines HD95. Empty if
    either mask is. Nearest points come from a tree over the surface, exact at any anisotropy, so
    memory follows the surface and not the volume.
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
    """Surface voxel centres (n, 3) in mm. Beyond the array nothing belongs to the mask."""
    inner = ndimage.binary_erosion(mask, _CROSS, border_value=0)
    return np.argwhere(mask & ~inner) * np.asarray(spacing_mm, dtype=np.float64)
