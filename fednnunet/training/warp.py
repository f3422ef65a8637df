"""Image and labels at points that need not fall on voxels: a patch rotated and scaled."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Points = tuple[np.ndarray, ...]
"""Coordinates in voxels, one float32 array (*patch) an axis; 0 is the middle of the first voxel."""

_MARGIN = 2  # voxels around a volume, so that every cell beyond it looks alike
_TIE = 1e-3  # scores nearer to each other than this count as equal


def rotated_points(affine: np.ndarray, patch: Sequence[int], size: Sequence[int]) -> Points:
    """The voxels of a `patch` in the middle of a box of `size`, moved by a matrix (axes, axes)."""
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in patch]
    open_grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    rows = affine.astype(np.float32)
    return tuple(
        np.asarray(sum(a * x for a, x in zip(row, open_grid, strict=True)) + (n - 1) / 2)
        for row, n in zip(rows, size, strict=True)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Between which voxels points lie, for arrays of one size, flat and with a margin around.

    A cell is what lies between 2 voxels along every axis. `base` (n) is the place of each point's
    lowest voxel, `offsets` (2 ** axes) lead from there to all corners, the last axis changing
    first, and `parts`, (n) an axis, say how far along the cell the point lies, from 0 to 1.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    base: np.ndarray
    offsets: tuple[int, ...]
    parts: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, points: Sequence[np.ndarray], size: Sequence[int]) -> Cells:
        """The cells of points in a volume of `size`."""
        edges = [n + 2 * _MARGIN for n in size]
        strides = tuple(int(np.prod(edges[axis + 1 :])) for axis in range(len(edges)))
        base, parts = np.zeros(points[0].size, np.int32), []
        for x, n, stride in zip(points, size, strides, strict=True):
            part = x.ravel() + np.float32(_MARGIN)
            np.clip(part, 0, n + _MARGIN, out=part)
            lower = np.floor(part)
            part -= lower
            base += lower.astype(np.int32) * np.int32(stride)
            parts.append(part)
        offsets = tuple(sum(c) for c in itertools.product(*[(0, stride) for stride in strides]))
        return cls(points[0].shape, strides, base.astype(np.intp), offsets, tuple(parts))


def image_at(image: np.ndarray, cells: Cells) -> np.ndarray:
    """Image (c, z, y, x) at points, float32 (c, *patch), linearly; 0 outside. In 2D without z."""
    out = np.empty((len(image), *cells.shape), np.float32)
    for volume, result in zip(image, out, strict=True):
        flat = _padded(volume, 0)
        values = [flat[offset:].take(cells.base) for offset in cells.offsets]
        for part in reversed(cells.parts):
            for low, high in zip(values[::2], values[1::2], strict=True):
                high -= low
                high *= part
                low += high
            values = values[::2]
        result[:] = values[0].reshape(cells.shape)
    return out


def labels_at(labels: np.ndarray, cells: Cells, *, outside: int) -> np.ndarray:
    """Labels int16 (k, z, y, x) at points, (k, *patch), with `outside` beyond the volume.

    The label is the one whose indicator, interpolated linearly, is largest; the nearest voxel's
    where two are equal. Only cells between voxels of different labels are looked at more closely,
    so the time does not grow with the number of labels. In 2D without z.
    """
    out = np.empty((len(labels), cells.base.size), np.int16)
    for volume, result in zip(labels, out, strict=True):
        flat = _padded(volume, outside)
        np.take(flat, cells.base, out=result)
        mixed = np.flatnonzero(_mixed(flat, cells.strides).take(cells.base))
        base, parts = cells.base[mixed], [part[mixed] for part in cells.parts]
        corners = np.stack([flat[offset:].take(base) for offset in cells.offsets])
        result[mixed] = _strongest(corners, parts)
    return out.reshape(len(labels), *cells.shape)


def _padded(volume: np.ndarray, value: int) -> np.ndarray:
    """The volume with its margin, flat."""
    return np.pad(volume, _MARGIN, "constant", constant_values=value).ravel()


def _mixed(flat: np.ndarray, strides: Sequence[int]) -> np.ndarray:
    """Where the cell above a voxel has more than one label; `flat` is a volume with its margin."""
    mixed = np.zeros(len(flat), bool)
    for stride in reversed(strides):
        differs = flat[:-stride] != flat[stride:]
        differs |= mixed[:-stride]
        differs |= mixed[stride:]
        mixed[:-stride] = differs
    return mixed


def _strongest(labels: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Of corner labels (2 ** axes, m), the one of the largest weight; `parts` (m) per axis."""
    weights = np.ones((1, labels.shape[1]), np.float32)
    for part in parts:
        pairs = np.stack([weights * (1 - part), weights * part], 1)
        weights = pairs.reshape(2 * len(weights), labels.shape[1])
    chosen = np.take_along_axis(labels, weights.argmax(0)[None], 0)[0]
    best = (weights * (labels == chosen)).sum(0) + _TIE
    undecided = np.flatnonzero(best < 0.5)
    labels, weights = labels[:, undecided], weights[:, undecided]
    for label in labels:
        score = (weights * (labels == label)).sum(0)
        better = score > best[undecided]
        best[undecided[better]] = score[better]
        chosen[undecided[better]] = label[better]
    return chosen
