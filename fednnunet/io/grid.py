"""Grids of volumes: whether they are possible, and how two of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fednnunet.errors import DataError
from fednnunet.volume import Geometry, Volume

_SPACING_MM = (1e-5, 1e5)  # what a voxel's edge may be
_FARTHEST_MM = 1e7  # what the origin's distance may be
_FLATTEST = 1e-3  # of the box that three axes of length 1 span


def orthonormal(direction: Sequence[float]) -> bool:
    """Whether the axes of a grid stand at right angles, so that every format can hold it."""
    matrix = np.reshape(direction, (3, 3))
    return bool(np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3))


def check_grid(geometry: Geometry, path: Path) -> Geometry:
    """The geometry; raises DataError for spacings, places or axes that no volume has."""
    spacing, direction = geometry.spacing_mm, np.asarray(geometry.direction, float)
    low, high = _SPACING_MM
    if not all(low <= value <= high for value in spacing):
        fault = f"the spacing {_shown(spacing)} mm"
    elif not all(abs(value) <= _FARTHEST_MM for value in geometry.origin_mm):
        fault = f"the origin {_shown(geometry.origin_mm)} mm"
    elif not np.isfinite(direction).all() or np.abs(direction).max() > 1.01:
        fault = f"the direction {_shown(geometry.direction)}"
    elif abs(np.linalg.det(direction.reshape(3, 3))) < _FLATTEST:
        fault = f"axes that lie in one plane: {_shown(geometry.direction)}"
    else:
        return geometry
    raise DataError(
        f"{path.name} cannot be read: its header states {fault}",
        where=str(path),
        mend="correct the header, or convert the image again from its source",
    )


def grid_difference(first: Volume, second: Volume) -> str:
    """What differs between two grids, in words; empty if they agree."""
    if first.shape_vox != second.shape_vox:
        return f"shape {list(second.shape_vox)} (other: {list(first.shape_vox)})"
    a, b = first.geometry, second.geometry
    if a.agrees_with(b):
        return ""
    names = ("spacing_mm", "origin_mm", "direction")
    differences = []
    for name, tolerance in zip(names, (1e-3, 1e-2, 1e-3), strict=True):
        if not np.allclose(getattr(a, name), getattr(b, name), rtol=1e-3, atol=tolerance):
            shown, other = _shown(getattr(b, name)), _shown(getattr(a, name))
            differences.append(f"{name.removesuffix('_mm')} {shown} (other: {other})")
    return ", ".join(differences) or "geometry"


def _shown(values: Sequence[float]) -> list[float]:
    return [round(float(v), 4) for v in values]
