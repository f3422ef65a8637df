"""Boxes of a case as voxels, and as the bits of its loaded label map."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from fednnunet.case_labels import LabelBox
from fednnunet.volume import Volume

_ROUNDING = 1e-3  # of a voxel: what a coordinate in mm may be off by

Extent = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def voxels_of(box: LabelBox, volume: Volume) -> Extent:
    """The voxels (z, y, x; half open) of a box, which may lie outside the volume.

    Of a box in mm these are the voxels whose centres it holds, or the one in its middle where it
    holds none; where the volume is oblique, all in the smallest box around it.
    """
    if box.unit == "voxel":
        edges = [(int(a), int(b)) for a, b in zip(box.low, box.high, strict=True)]
    else:
        corners = np.array(list(itertools.product(*zip(box.low, box.high, strict=True)))).T
        index = _indices(corners, volume)
        edges = [_span(*pair) for pair in zip(index.min(axis=1), index.max(axis=1), strict=True)]
    x, y, z = edges
    return z, y, x


def _span(low: float, high: float) -> tuple[int, int]:
    start, stop = math.ceil(low - _ROUNDING), math.ceil(high - _ROUNDING)
    middle = round((low + high) / 2)
    return (start, stop) if start < stop else (middle, middle + 1)


def _indices(places_mm: np.ndarray, volume: Volume) -> np.ndarray:
    """Voxel indices (3, n; x, y, z) of places (3, n) towards right, anterior, superior."""
    geometry = volume.geometry
    left_posterior = places_mm * np.array([[-1.0], [-1.0], [1.0]])
    steps = np.reshape(geometry.direction, (3, 3)) * np.array(geometry.spacing_mm[::-1])
    return np.linalg.solve(steps, left_posterior - np.array(geometry.origin_mm)[:, None])


def is_inside(extent: Extent, shape_vox: Sequence[int]) -> bool:
    """Whether all voxels of a box lie in a volume."""
    return all(low >= 0 and high <= n for (low, high), n in zip(extent, shape_vox, strict=True))


def box_map(boxes: Sequence[LabelBox], volume: Volume) -> np.ndarray:
    """The bits (z, y, x; int16) of boxes in a volume; see `fednnunet.supervision`."""
    bits = np.zeros(volume.shape_vox, np.int16)
    for box in boxes:
        (z0, z1), (y0, y1), (x0, x1) = voxels_of(box, volume)
        bits[z0:z1, y0:y1, x0:x1] |= np.int16(1 << (box.label - 1))
    return bits


def filled_map(label: np.ndarray, classes: int) -> np.ndarray:
    """The bits of a label map (z, y, x) in which every box is filled with its class's value."""
    bits = np.zeros(label.shape, np.int16)
    for value in range(1, classes + 1):
        bits[label == value] = np.int16(1 << (value - 1))
    return bits
