"""A 3D image with its place in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Where voxel indices lie in the patient.

    `spacing_mm` is in array order (z, y, x). `origin_mm` (x, y, z) and `direction` (3x3, row by
    row) are in the ITK convention, physical axes pointing left, posterior, superior.
    """

    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def agrees_with(self, other: Geometry, *, tolerance_mm: float = 1e-2) -> bool:
        """Whether spacing, origin and direction are the same up to what file formats round."""
        return (
            np.allclose(self.spacing_mm, other.spacing_mm, rtol=1e-3, atol=1e-4)
            and np.allclose(self.origin_mm, other.origin_mm, atol=tolerance_mm)
            and np.allclose(self.direction, other.direction, atol=1e-3)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """Voxels and their geometry: `array` is (c, z, y, x), any numeric dtype."""

    array: np.ndarray
    geometry: Geometry

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x) in mm."""
        return self.geometry.spacing_mm

    @property
    def shape_vox(self) -> tuple[int, int, int]:
        """Number of voxels (z, y, x)."""
        z, y, x = self.array.shape[1:]
        return (z, y, x)
