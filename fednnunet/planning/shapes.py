"""The second exchange: histograms of shapes after resampling, with one bin per integer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fednnunet.errors import ReplyError
from fednnunet.planning.fingerprint import AXES, check_shape
from fednnunet.planning.histogram import SHAPE_BINS, integer_median

Spacing = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShapeSketch:
    """Histogram of the shapes that cases have at `spacing_mm` (z, y, x): `counts` (3, bins)."""

    spacing_mm: Spacing
    counts: np.ndarray

    @classmethod
    def empty(cls, spacing_mm: Spacing) -> ShapeSketch:
        """No cases, at a target spacing."""
        return cls(spacing_mm=spacing_mm, counts=np.zeros((len(AXES), SHAPE_BINS)))

    @classmethod
    def of_cases(
        cls, spacing_mm: Spacing, cases: Iterable[tuple[Spacing, tuple[int, int, int]]]
    ) -> ShapeSketch:
        """Count (spacing, cropped shape) pairs after resampling; DataError for huge shapes."""
        sketch = cls.empty(spacing_mm)
        for shape in resampled_shapes(spacing_mm, cases):
            sketch.counts[range(len(AXES)), shape] += 1
        return sketch

    def __add__(self, other: ShapeSketch) -> ShapeSketch:
        if self.spacing_mm != other.spacing_mm:
            raise ReplyError(
                f"shapes at {list(other.spacing_mm)} mm cannot be added to those at "
                f"{list(self.spacing_mm)} mm",
                mend="ask every site for shapes at the same spacing",
            )
        return ShapeSketch(spacing_mm=self.spacing_mm, counts=self.counts + other.counts)

    def in_order(self, axes: tuple[int, int, int]) -> ShapeSketch:
        """A copy whose axes (z, y, x) are the `axes` of this one."""
        z, y, x = (self.spacing_mm[axis] for axis in axes)
        return ShapeSketch(spacing_mm=(z, y, x), counts=self.counts[list(axes)])

    @property
    def cases(self) -> int:
        """Number of cases counted."""
        return int(self.counts[0].sum())

    def median_vox(self) -> tuple[float, float, float]:
        """Median shape (z, y, x); halves occur for an even number of cases."""
        z, y, x = (integer_median(axis) for axis in self.counts)
        return (z, y, x)

    def to_vector(self) -> np.ndarray:
        """The counts as one vector of fixed length."""
        return self.counts.ravel().copy()

    @classmethod
    def from_vector(cls, spacing_mm: Spacing, vector: np.ndarray, *, site: str = "") -> ShapeSketch:
        """The sketch in `vector`; raises ReplyError for another length."""
        if vector.shape != (len(AXES) * SHAPE_BINS,):
            raise ReplyError(
                f"the shapes have {vector.shape} bins, not ({len(AXES) * SHAPE_BINS},)",
                where=f"site {site}" if site else "",
                mend="install the same version of the program at every site",
            )
        counts = vector.astype(np.float64, copy=False).reshape(len(AXES), SHAPE_BINS)
        return cls(spacing_mm=spacing_mm, counts=counts)


def resampled_shapes(
    spacing_mm: Spacing, cases: Iterable[tuple[Spacing, tuple[int, int, int]]]
) -> list[tuple[int, int, int]]:
    """Shapes of (spacing, cropped shape) pairs at `spacing_mm`; DataError for huge shapes."""
    found = [resampled_shape(shape, spacing, spacing_mm) for spacing, shape in cases]
    for shape in found:
        check_shape(shape)
    return found


def resampled_shape(
    shape_vox: tuple[int, int, int], spacing_mm: Spacing, target_mm: Spacing
) -> tuple[int, int, int]:
    """Shape after resampling from `spacing_mm` to `target_mm`, all (z, y, x)."""
    per_axis = zip(spacing_mm, target_mm, shape_vox, strict=True)
    z, y, x = (round(old / new * size) for old, new, size in per_axis)
    return (z, y, x)
