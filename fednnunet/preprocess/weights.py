"""One axis of a resampling as a matrix, and its fast application.

Spline resizing is separable and linear. The whole of it along one axis, prefilter and boundary
included, is one (new, old) matrix: it is built once in float64 and applied in float32 by BLAS.
Since spline weights fade within a few voxels, it is applied in blocks of rows, each over the
narrow band of columns that matter to it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

_ROWS = 48  # output rows a block
_NEGLIGIBLE = 1e-7  # weights below this do not change a float32 result
_PAD = 12  # voxels of edge that the spline's prefilter sees, as scipy pads them


@dataclass(frozen=True, slots=True)
class Band:
    """Output rows `out` of a weight matrix and the input columns `into` that they need."""

    out: slice
    into: slice
    weights: np.ndarray  # (rows, columns) float32


def coordinates(old: int, new: int) -> np.ndarray:
    """Where the centres of `new` voxels lie on an axis of `old` voxels, in voxel indices."""
    return (np.arange(new) + 0.5) * (old / new) - 0.5


def nearest(old: int, new: int) -> np.ndarray:
    """The index on the old axis that each new voxel takes at order 0."""
    return np.clip(np.floor(coordinates(old, new) + 0.5).astype(np.intp), 0, old - 1)


@functools.lru_cache(maxsize=64)
def bands(old: int, new: int, order: int) -> tuple[Band, ...]:
    """The weight matrix (new, old) of a spline `order` with repeated edges, in bands."""
    matrix = matrix_of(old, new, order)
    found = []
    for start in range(0, new, _ROWS):
        rows = matrix[start : start + _ROWS]
        used = np.flatnonzero((np.abs(rows) > _NEGLIGIBLE).any(axis=0))
        into = slice(int(used[0]), int(used[-1]) + 1)
        weights = np.ascontiguousarray(rows[:, into], dtype=np.float32)
        found.append(Band(slice(start, start + len(rows)), into, weights))
    return tuple(found)


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
    """Sum over taps of weights[tap] x source[first + tap], rows past the end repeating the last."""
    matrix = np.zeros((len(first), source.shape[1]))
    for tap, weight in enumerate(weights):
        matrix += weight[:, None] * source[np.minimum(first + tap, last)]
    return matrix


def _bspline(distance: np.ndarray) -> np.ndarray:
    """The cubic B-spline at signed distances in (-2, 2)."""
    d = np.abs(distance)
    return np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.maximum(2 - d, 0) ** 3 / 6)


def apply_rows(image: np.ndarray, rows: int, columns: int, order: int) -> np.ndarray:
    """Resize one slice (y, x), float32, to (rows, columns)."""
    height, width = image.shape
    if columns != width:
        wide = np.empty((height, columns), np.float32)
        for band in bands(width, columns, order):
            np.matmul(image[:, band.into], band.weights.T, out=wide[:, band.out])
        image = wide
    if rows != height:
        tall = np.empty((rows, columns), np.float32)
        for band in bands(height, rows, order):
            np.matmul(band.weights, image[band.into], out=tall[band.out])
        image = tall
    return image


def apply_depth(array: np.ndarray, depth: int, order: int) -> np.ndarray:
    """Resize the first axis of `array` (z, y, x), float32, to `depth`."""
    old = len(array)
    if depth == old:
        return array
    flat = array.reshape(old, -1)
    out = np.empty((depth, flat.shape[1]), np.float32)
    for band in bands(old, depth, order):
        np.matmul(band.weights, flat[band.into], out=out[band.out])
    return out.reshape(depth, *array.shape[1:])
