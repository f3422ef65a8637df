"""Image and labels at points that need not fall on voxels: a patch turned and scaled."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Points = tuple[np.ndarray, ...]
"""Coordinates in voxels, one float32 array (*patch) an axis; 0 is the middle of the first voxel."""

_TIE = 1e-3  # scores nearer to each other than this count as equal


def turned_points(affine: np.ndarray, patch: Sequence[int], size: Sequence[int]) -> Points:
    """The voxels of a `patch` in the middle of a box of `size`, moved by a matrix (axes, axes)."""
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in patch]
    open_grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    rows = affine.astype(np.float32)
    return tuple(
        np.asarray(sum(a * x for a, x in zip(row, open_grid, strict=True)) + (n - 1) / 2)
        for row, n in zip(rows, size, strict=True)
    )


def image_at(image: Tensor, points: Points) -> Tensor:
    """Image (c, z, y, x) at the points, (c, *patch), linearly, with 0 outside; in 2D without z."""
    grid = np.empty((*points[0].shape, len(points)), np.float32)
    for axis, (x, n) in enumerate(zip(points, image.shape[1:], strict=True)):
        grid[..., -1 - axis] = (2 * x + 1) / n - 1
    return F.grid_sample(image[None], torch.from_numpy(grid)[None], align_corners=False)[0]


def labels_at(labels: Tensor, points: Points, *, outside: int) -> Tensor:
    """Labels int16 (k, z, y, x) at the points, (k, *patch), with `outside` beyond the volume.

    The label is the one whose indicator, interpolated linearly, is largest; the nearest voxel's
    where two are equal. Only cells between voxels of different labels are looked at more closely,
    so the time does not grow with the number of labels. In 2D without z.
    """
    size = labels.shape[1:]
    around = [(0, 0), *[(2, 2)] * len(size)]
    padded = np.pad(labels.numpy(), around, "constant", constant_values=outside)
    strides = [step // padded.itemsize for step in padded.strides[1:]]
    flat = [x.ravel() for x in points]
    lower = [np.floor(x) for x in flat]
    base = np.zeros(flat[0].shape, np.int64)
    for x, n, stride in zip(lower, size, strides, strict=True):
        base += np.clip(x + 2, 0, n + 2).astype(np.int64) * stride
    corners = np.array([sum(c) for c in itertools.product(*[(0, stride) for stride in strides])])
    out = np.empty((len(labels), base.size), padded.dtype)
    for volume, result in zip(padded, out, strict=True):
        np.take(volume.ravel(), base, out=result)
        mixed = np.flatnonzero(_edges(volume).ravel().take(base))
        parts = [x[mixed] - low[mixed] for x, low in zip(flat, lower, strict=True)]
        result[mixed] = _strongest(volume.ravel().take(base[mixed] + corners[:, None]), parts)
    return torch.from_numpy(out.reshape(len(labels), *points[0].shape))


def _edges(volume: np.ndarray) -> np.ndarray:
    """Where the cell above a voxel (its 2 x 2 x 2 corners) has more than one label."""
    low = high = volume
    for axis in range(volume.ndim):
        first = (slice(None),) * axis + (slice(None, -1),)
        second = (slice(None),) * axis + (slice(1, None),)
        low = np.minimum(low[first], low[second])
        high = np.maximum(high[first], high[second])
    edges = np.zeros(volume.shape, bool)
    edges[tuple(slice(n) for n in low.shape)] = low != high
    return edges


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
