"""Volumes turned into the plan's orientation, and masks turned back: axes permuted and flipped."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from fednnunet.planning.orientation import axes_between
from fednnunet.volume import Geometry

_LETTERS = (
    ("R", "L"),
    ("A", "P"),
    ("I", "S"),
)  # down and up the ITK axes: left, posterior, superior


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A permutation of the last three axes of an array (z, y, x), and the new axes to flip."""

    axes: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[int, ...] = ()

    @classmethod
    def between(cls, stored: str, wanted: str) -> Turn:
        """From one orientation to another; nothing where one of them is not an axis code."""
        axes, flips = axes_between(stored, wanted)
        return cls(axes=axes, flips=flips)

    @classmethod
    def of(cls, geometry: Geometry, wanted: str) -> Turn:
        """From the orientation of a stored volume to the `wanted` one."""
        return cls.between(orientation_code(geometry), wanted)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """A view of `array` (..., z, y, x) as turned."""
        return np.flip(self._moved(array, self.axes), self._flipped(array))

    def undo(self, array: np.ndarray) -> np.ndarray:
        """A view of a turned `array` (..., z, y, x) as it was stored."""
        z, y, x = np.argsort(self.axes).tolist()
        return self._moved(np.flip(array, self._flipped(array)), (z, y, x))

    def order(self, values: tuple[float, float, float]) -> tuple[float, float, float]:
        """One value for each stored axis, in the order of the turned axes."""
        z, y, x = (values[axis] for axis in self.axes)
        return (z, y, x)

    def _flipped(self, array: np.ndarray) -> tuple[int, ...]:
        return tuple(array.ndim - 3 + axis for axis in self.flips)

    def _moved(self, array: np.ndarray, axes: tuple[int, int, int]) -> np.ndarray:
        front = array.ndim - 3
        return array.transpose(*range(front), *(front + axis for axis in axes))


def orientation_code(geometry: Geometry) -> str:
    """Axis code of the stored volume as nibabel writes it, e.g. "RAS"; empty if it has none.

    One letter for each voxel axis (x, y, z): the direction in which its index grows. Oblique
    volumes get the code of the nearest one that is not oblique.
    """
    direction = np.asarray(geometry.direction, np.float64).reshape(3, 3)
    if not np.isfinite(direction).all() or abs(np.linalg.det(direction)) < 1e-3:
        return ""
    steps = np.abs(direction)
    orders = itertools.permutations(range(3))
    nearest = max(orders, key=lambda rows: sum(steps[row, axis] for axis, row in enumerate(rows)))
    return "".join(_LETTERS[row][int(direction[row, axis] > 0)] for axis, row in enumerate(nearest))
