"""Resampling along one axis as a banded matrix, and its fast application.

Spline resizing is separable and linear. Along one axis, including prefilter and boundary
conditions, it is a (new, old) matrix, which is built once in float64 and applied in float32 by
BLAS. Spline weights decay within a few voxels, so the matrix is applied in blocks of rows, each
with the narrow band of columns whose weights are not negligible.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

_ROWS = 16  # output rows per block
_NEGLIGIBLE = 1e-7  # weights below this do not change a float32 result
_PAD = 12  # repeated edge voxels for the spline's prefilter, as in scipy


@dataclass(frozen=True, slots=True)
class Band:
    """Output rows `out` of a weight matrix and the input columns `into` that they need."""

    out: slice
    into: slice
    weights: np.ndarray  # (rows, columns) float32


def coordinates(old: int, new: int) -> np.ndarray:
    """Positions of the centres of `new` voxels on an axis of `old` voxels, in voxel indices."""
    return (np.arange(new) + 0.5) * (old / new) - 0.5


def nearest(old: int, new: int) -> np.ndarray:
    """The index on the old axis that each new voxel takes at order 0."""
    return np.clip(np.floor(coordinates(old, new) + 0.5).astype(np.intp), 0, old - 1)


@dataclass(frozen=True, slots=True)
class Axis:
    """The resampling of one axis from `old` to `new` voxels; without bands, the identity."""

    old: int
    new: int
    bands: tuple[Band, ...]

    def part(self, low: int, high: int) -> tuple[Axis, slice, slice]:
        """The part of the resampling that depends on the input voxels from `low` to `high`.

        Returns it with the range of input voxels that it needs, which may be larger, and the range
        of output voxels that it computes.
        """
        used = [b for b in self.bands if b.into.start < high and b.into.stop > low]
        if not used:
            return Axis(high - low, high - low, ()), slice(low, high), slice(low, high)
        into = slice(used[0].into.start, max(b.into.stop for b in used))
        out = slice(used[0].out.start, used[-1].out.stop)
        shifted = tuple(
            Band(_back(b.out, out.start), _back(b.into, into.start), b.weights) for b in used
        )
        return Axis(into.stop - into.start, out.stop - out.start, shifted), into, out


def _back(span: slice, start: int) -> slice:
    return slice(span.start - start, span.stop - start)


@functools.lru_cache(maxsize=64)
def axis(old: int, new: int, order: int) -> Axis:
    """The resampling of an axis by a spline `order` with repeated edges."""
    if old == new:
        return Axis(old, new, ())
    matrix = matrix_of(old, new, order)
    bands = []
    for start in range(0, new, _ROWS):
        rows = matrix[start : start + _ROWS]
        used = np.flatnonzero((np.abs(rows) > _NEGLIGIBLE).any(axis=0))
        into = slice(int(used[0]), int(used[-1]) + 1)
        weights = np.ascontiguousarray(rows[:, into], dtype=np.float32)
        bands.append(Band(slice(start, start + len(rows)), into, weights))
    return Axis(old, new, tuple(bands))


def matrix_of(old: int, new: int, order: int) -> np.ndarray:
    """The weights (new, old) in float64; every row sums to one.

    Order 0 is nearest, 1 linear, 3 the interpolating cubic B-spline (Unser 1999). The axis is
    extended by its edge values.
    """
    if order == 0:
        return np.eye(old)[nearest(old, new)]
    centres = coordinates(old, new)
    if order == 1:
        centres = np.clip(centres, 0, old - 1)
    first = np.floor(centres).astype(np.intp)
    offset = centres - first
    if order == 1:
        return _gather(np.eye(old), first, np.stack([1 - offset, offset]), old - 1)
    if order != 3:
        raise ValueError(f"spline order {order} is not one of 0, 1, 3")
    from scipy.ndimage import spline_filter1d

    padded = np.pad(np.eye(old), ((_PAD, _PAD), (0, 0)), mode="edge")
    filtered = spline_filter1d(padded, 3, axis=0, output=np.float64, mode="nearest")
    weights = np.stack([_bspline(offset + 1 - tap) for tap in range(4)])
    return _gather(filtered, first + _PAD - 1, weights, len(padded) - 1)


def _gather(source: np.ndarray, first: np.ndarray, weights: np.ndarray, last: int) -> np.ndarray:
    """Sum over taps of weights[tap] x source[first + tap]; the last row is repeated at the end."""
    matrix = np.zeros((len(first), source.shape[1]))
    for tap, weight in enumerate(weights):
        matrix += weight[:, None] * source[np.minimum(first + tap, last)]
    return matrix


def _bspline(distance: np.ndarray) -> np.ndarray:
    """The cubic B-spline at signed distances in (-2, 2)."""
    d = np.abs(distance)
    return np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.maximum(2 - d, 0) ** 3 / 6)


def resize_plane(image: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """Resize one slice (y, x), float32; no copy if nothing changes."""
    if columns.bands:
        wide = np.empty((len(image), columns.new), np.float32)
        for band in columns.bands:
            np.matmul(image[:, band.into], band.weights.T, out=wide[:, band.out])
        image = wide
    return resize_first(image, rows)


def resize_first(array: np.ndarray, depth: Axis) -> np.ndarray:
    """Resize the first axis of a float32 array; no copy if nothing changes."""
    if not depth.bands:
        return array
    flat = array.reshape(depth.old, -1)
    out = np.empty((depth.new, flat.shape[1]), np.float32)
    for band in depth.bands:
        np.matmul(band.weights, flat[band.into], out=out[band.out])
    return out.reshape(depth.new, *array.shape[1:])
