"""What the cases of a plan were like: ranges by which a prediction tells that an image is unlike.

They are read off the merged histograms, which passed the sites' minimum counts, and travel in the
plan with every bundle, so that external hospitals have them, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fednnunet.planning.fingerprint import AXES, Fingerprint
from fednnunet.planning.histogram import SPACING_MM
from fednnunet.planning.label_volume import volume_range
from fednnunet.planning.orientation import ORIENTATIONS
from fednnunet.planning.shapes import ShapeSketch

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Lowest and highest values over all cases, up to the bins; axes are (z, y, x) as turned."""

    spacing_mm: tuple[Range, ...]
    """Voxel size along each axis."""
    size_mm: tuple[Range, ...]
    """Length of the volume along each axis, without margins of zeros."""
    foreground_ml: dict[str, Range] = field(default_factory=dict)
    """Volume of each label in the cases that have it; labels of too few cases are missing."""
    always: tuple[str, ...] = ()
    """Labels that every case has."""
    orientations: tuple[str, ...] = ()
    """Axis codes of the stored volumes, as far as they are known."""


def seen_ranges(fingerprint: Fingerprint, shapes: ShapeSketch) -> Seen:
    """The ranges of merged sums, both with their axes in the order of the plan's orientation."""
    known = fingerprint.block("orientation")[: len(ORIENTATIONS)]
    cases, labelled = fingerprint.cases, fingerprint.label_cases()
    return Seen(
        spacing_mm=tuple(_spacings(fingerprint)),
        size_mm=tuple(_sizes(shapes)),
        foreground_ml=_volumes(fingerprint),
        always=tuple(name for name in fingerprint.task.labels[1:] if labelled[name] == cases),
        orientations=tuple(ORIENTATIONS[place] for place in np.flatnonzero(known)),
    )


def _spacings(fingerprint: Fingerprint) -> Iterator[Range]:
    for axis in AXES:
        bins = np.flatnonzero(fingerprint.block(f"spacing_{axis}")[0])
        yield _rounded(SPACING_MM.edges[bins[0]]), _rounded(SPACING_MM.edges[bins[-1] + 1])


def _sizes(shapes: ShapeSketch) -> Iterator[Range]:
    for counts, spacing in zip(shapes.counts, shapes.spacing_mm, strict=True):
        edges = np.flatnonzero(counts)
        yield _rounded(edges[0] * spacing), _rounded(edges[-1] * spacing)


def _volumes(fingerprint: Fingerprint) -> dict[str, Range]:
    table = fingerprint.block("volume_per_label")
    found = {
        name: volume_range(row) for name, row in zip(fingerprint.task.labels, table, strict=True)
    }
    return {name: both for name, both in found.items() if both}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}") if math.isfinite(value) else 0.0
