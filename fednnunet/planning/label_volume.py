"""Volumes of labels in ml, counted in bins that double from one to the next."""

from __future__ import annotations

import math

import numpy as np

VOLUME_BINS = 40
_FIRST = -20  # the first bin begins at 2**-20 ml; the outer ones take smaller and larger volumes
COMPLETE = ("full", "partial", "pseudo")  # kinds of labels whose maps show whole structures


def volumes_ml(spacing_mm: tuple[float, float, float], voxels: tuple[int, ...]) -> list[float]:
    """Volume in ml of each label with these numbers of voxels."""
    return [count * math.prod(spacing_mm) / 1000 for count in voxels]


def volume_place(volume_ml: float) -> int:
    """The bin of a volume above 0."""
    return min(max(math.floor(math.log2(volume_ml)) - _FIRST, 0), VOLUME_BINS - 1)


def volume_range(counts: np.ndarray) -> tuple[float, float] | None:
    """Edges in ml of the lowest and highest occupied bins of `counts` (bins,); None of none."""
    bins = np.flatnonzero(counts)
    if not len(bins):
        return None
    return 2.0 ** (int(bins[0]) + _FIRST), 2.0 ** (int(bins[-1]) + _FIRST + 1)
