"""The tiles of a sliding window: where they lie, and how much each of their voxels counts.

Tiles are evenly spaced by at most a given share of a patch, half of one in nnU-Net. The weight of a
voxel is a Gaussian about the tile's centre, with sigma = patch / 8. A grid is padded only up to the
size of a patch, so that no tile lies in padding alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PEAK = 10.0
SIGMA = 1 / 8

Tile = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Tiling:
    """The tiles of a grid (z, y, x); `patch` has one voxel along z in 2D.

    `starts` are the first voxels of the tiles along each axis.
    """

    grid: tuple[int, int, int]
    patch: tuple[int, int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @classmethod
    def of(cls, grid: Sequence[int], patch_vox: Sequence[int], step: float) -> Tiling:
        """The tiles of `grid`, which is at least as large as a patch; (y, x) of a 2D patch."""
        depth, height, width = grid
        whole = (1,) * (3 - len(patch_vox)) + tuple(patch_vox)
        p, q, r = whole
        along_z = tuple(range(depth)) if len(patch_vox) == 2 else tile_starts(depth, p, step)
        starts = (along_z, tile_starts(height, q, step), tile_starts(width, r, step))
        return cls((depth, height, width), (p, q, r), starts)

    def tiles(self, rows: slice) -> list[Tile]:
        """The tiles that reach into a range of rows along y, ordered by z, then y, then x."""
        size = self.patch[1]
        y = [s for s in self.starts[1] if s < rows.stop and s + size > rows.start]
        return [
            (
                slice(corner[0], corner[0] + self.patch[0]),
                slice(corner[1], corner[1] + self.patch[1]),
                slice(corner[2], corner[2] + self.patch[2]),
            )
            for corner in itertools.product(self.starts[0], y, self.starts[2])
        ]

    def total_weight(self, axis: int) -> np.ndarray:
        """The sum over tiles of their weights along one axis, float64; all three multiply."""
        total = np.zeros(self.grid[axis])
        size = self.patch[axis]
        for start in self.starts[axis]:
            total[start : start + size] += _profile(size)
        return total


def tile_starts(size: int, patch: int, step: float) -> tuple[int, ...]:
    """First voxels of the tiles along one axis: evenly spaced by at most `step` patches."""
    count = math.ceil((size - patch) / (patch * step)) + 1
    if count == 1:
        return (0,)
    return tuple(round((size - patch) / (count - 1) * i) for i in range(count))


def gaussian(patch: Sequence[int]) -> np.ndarray:
    """The weights of a tile's voxels, float32: `PEAK` in the centre, positive everywhere.

    Half a patch is four sigma, so that the smallest weight is far above float32's underflow.
    """
    weight = np.full((1,) * len(patch), PEAK, np.float64)
    for axis, size in enumerate(patch):
        shape = [1] * len(patch)
        shape[axis] = size
        weight = weight * _profile(size).reshape(shape)
    return weight.astype(np.float32)


def _profile(size: int) -> np.ndarray:
    """The Gaussian along one axis, 1 in the centre."""
    profile: np.ndarray = np.exp(-0.5 * ((np.arange(size) - size // 2) / (size * SIGMA)) ** 2)
    return profile
