"""Distances between the surfaces of two masks, and the metrics that are made of them.

A surface voxel is a voxel of the mask with a face neighbour that is not in the mask or not in the
image; distances are between voxel centres. The definitions, and where other programs have others:

- HD is the largest distance, as everywhere.
- HD95 is the 95th percentile of both directions together, as in MedPy. MONAI takes the larger of
  the two directions' percentiles, and `surface-distance` weights by area.
- ASSD is the mean over both directions together, as in MONAI with `symmetric=True`.
- NSD (Nikolov et al., "Clinically applicable segmentation of head and neck anatomy", J Med Internet
  Res 2021) is the share of surface voxels of both masks within a tolerance, as in MONAI. The paper
  and `surface-distance` weight the elements of a mesh by area.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SurfaceDistances:
    """Distances in mm from each surface voxel of a mask to the other's; empty if a mask is."""

    there: np.ndarray
    """From the prediction to the reference."""
    back: np.ndarray
    """From the reference to the prediction."""

    @property
    def both(self) -> np.ndarray:
        """Both directions as one vector."""
        return np.concatenate([self.there, self.back])

    @property
    def hd_mm(self) -> float:
        """Hausdorff distance; NaN if a mask is empty."""
        return float(max(self.there.max(), self.back.max())) if self.there.size else math.nan

    @property
    def hd95_mm(self) -> float:
        """The 95th percentile of both directions together; NaN if a mask is empty."""
        return float(np.percentile(self.both, 95)) if self.there.size else math.nan

    @property
    def assd_mm(self) -> float:
        """Average symmetric surface distance; NaN if a mask is empty."""
        return float(self.both.mean()) if self.there.size else math.nan

    def nsd(self, tolerance_mm: float) -> float:
        """Normalised surface distance: the share within `tolerance_mm`; NaN if a mask is empty."""
        if not self.there.size:
            return math.nan
        within = int((self.there <= tolerance_mm).sum()) + int((self.back <= tolerance_mm).sum())
        return within / (self.there.size + self.back.size)


def surface_distances(
    predicted: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, float, float]
) -> SurfaceDistances:
    """The distances between two bool masks (z, y, x), best cropped to the box of both.

    Nearest neighbours come from a k-d tree, which is exact for anisotropic voxels, and needs time
    and memory in proportion to the surface only. Voxels of both surfaces are at distance 0 and are
    not searched.
    """
    ours, theirs = surface_voxels(predicted), surface_voxels(reference)
    step = np.asarray(spacing_mm, dtype=np.float64)
    first, second = np.argwhere(ours) * step, np.argwhere(theirs) * step
    if not len(first) or not len(second):
        return SurfaceDistances(there=np.zeros(0), back=np.zeros(0))
    return SurfaceDistances(
        there=_nearest_mm(first, second, theirs[ours]),
        back=_nearest_mm(second, first, ours[theirs]),
    )


def surface_voxels(mask: np.ndarray) -> np.ndarray:
    """The surface voxels of a bool mask (z, y, x); voxels beyond the array are not in the mask."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(3):
        for start in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(start, start + mask.shape[axis])
            inner &= padded[tuple(window)]
    return mask & ~inner


def label_boxes(labels: np.ndarray, highest: int) -> dict[int, Box]:
    """The bounding box of each value from 1 to `highest` that is in a label map (z, y, x).

    One pass over the voxels for all values.
    """
    numbers = labels if labels.dtype.kind in "iu" else labels.astype(np.int64)
    outer = mask_box(numbers)
    if outer is None:
        return {}
    found = ndimage.find_objects(numbers[outer], max_label=highest)
    return {
        value: tuple(
            slice(inner.start + whole.start, inner.stop + whole.start)
            for inner, whole in zip(box, outer, strict=True)
        )
        for value, box in enumerate(found, start=1)
        if box is not None
    }


def mask_box(mask: np.ndarray) -> Box | None:
    """The box of all values but 0 of a mask (z, y, x); None if there are none."""
    rows = np.asarray(mask.any(axis=2))
    lines = [np.asarray(rows.any(axis=axis)) for axis in (1, 0)]
    if not lines[0].any():
        return None
    box = tuple(_range(line) for line in lines)
    return (*box, _range(np.asarray(mask[box].any(axis=(0, 1)))))


def united(boxes: Iterable[Box | None]) -> Box | None:
    """The smallest box around all `boxes`, of which those that are None do not count."""
    there = [box for box in boxes if box is not None]
    if not there:
        return None
    return tuple(
        slice(min(box[axis].start for box in there), max(box[axis].stop for box in there))
        for axis in range(3)
    )


def _nearest_mm(points: np.ndarray, others: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """The distance of each point (n, 3; mm) to the nearest of `others`; 0 for `shared` ones."""
    distances = np.zeros(len(points))
    if not shared.all():
        tree = cKDTree(others, balanced_tree=False, compact_nodes=False)
        distances[~shared], _ = tree.query(points[~shared])
    return distances


def _range(line: np.ndarray) -> slice:
    """From the first to the last true value."""
    indices = np.flatnonzero(line)
    return slice(int(indices[0]), int(indices[-1]) + 1)
