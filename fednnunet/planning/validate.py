"""Is what a site sent a possible sum over cases? Every fault is listed, with the site's name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fednnunet.errors import ReplyError, raise_all
from fednnunet.planning.fingerprint import AXES, Fingerprint
from fednnunet.planning.histogram import CROP_RATIO, SPACING_MM, Grid
from fednnunet.planning.shapes import ShapeSketch

_FARTHEST = 1e12  # units from the middle of an outermost bin
_SLACK = 1e-6  # of the weight of a case; weights are rounded to 2**-40 a bin


def validate(fingerprint: Fingerprint, *, site: str) -> None:
    """Raise ReplyError (or several, in ManyFaults) for sums that no cases can have."""
    _raise(_fingerprint_faults(fingerprint), site)


def validate_shapes(shapes: ShapeSketch, *, site: str, cases: int) -> None:
    """Raise ReplyError unless the shapes are those of `cases` cases."""
    _raise(_shape_faults(shapes, cases), site)


def _raise(faults: Iterator[str], site: str) -> None:
    mend = "update the site's program, or go on without this site"
    raise_all(
        f"the reply of site {site} cannot be used",
        [ReplyError(fault, where=f"site {site}", mend=mend) for fault in faults],
    )


def _fingerprint_faults(fingerprint: Fingerprint) -> Iterator[str]:
    if not np.isfinite(fingerprint.vector).all():
        yield f"{np.sum(~np.isfinite(fingerprint.vector))} sums are not finite"
        return
    cases = fingerprint.block("cases")[0]
    if cases < 1 or cases != round(cases):
        yield f"the number of cases is {cases:g}"
    counts = {"crop ratio": fingerprint.block("crop_ratio")[0]}
    for axis in AXES:
        counts[f"spacing {axis}"] = fingerprint.block(f"spacing_{axis}")[0]
        counts[f"shape {axis}"] = fingerprint.block(f"shape_{axis}")
    for name, histogram in counts.items():
        yield from _count_faults(name, histogram, cases)
    yield from _moment_faults("crop_ratio", fingerprint.block("crop_ratio"), CROP_RATIO)
    for axis in AXES:
        block = fingerprint.block(f"spacing_{axis}")
        yield from _moment_faults(f"spacing {axis}", block, SPACING_MM)
    with_foreground = fingerprint.block("cases_with_foreground")[0]
    labelled = fingerprint.block("cases_per_label")
    if not _whole(np.append(labelled, with_foreground)) or max(*labelled, with_foreground) > cases:
        yield f"cases per label are {labelled.tolist()} of {cases:g}, {with_foreground:g} with any"
    voxels = fingerprint.block("voxels_per_label")
    if not _whole(voxels) or np.any(voxels < labelled):
        yield "the numbers of voxels per label do not fit the numbers of cases"
    for channel, name in enumerate(fingerprint.task.channels):
        table = fingerprint.block(f"foreground_{channel}")
        yield from _foreground_faults(name, table, with_foreground)


def _foreground_faults(name: str, table: np.ndarray, with_foreground: float) -> Iterator[str]:
    cases, weight, first, second = table
    if np.any(table[[0, 1, 3]] < 0) or not _whole(cases) or np.any(cases > with_foreground):
        yield f"the intensity histogram of channel {name} has negative or impossible counts"
    elif np.any((weight > 0) & (cases < 1)):
        yield f"the intensity histogram of channel {name} has weight where it counts no case"
    elif abs(weight.sum() - with_foreground) > _SLACK * max(with_foreground, 1):
        yield (
            f"the intensity histogram of channel {name} has weight {weight.sum():.6g} "
            f"for {with_foreground:g} cases"
        )
    elif np.any(first**2 > weight * second + _SLACK * (1 + second)):
        yield f"the intensity moments of channel {name} have a negative variance"


def _moment_faults(name: str, table: np.ndarray, grid: Grid) -> Iterator[str]:
    """Sums of powers that no offsets within the bins can have."""
    count, first, second, whole, rest = table
    scale = 10.0**grid.decimals
    edges = np.stack([grid.edges[:-1], grid.edges[1:]]) * scale - grid.centre
    farthest = np.abs(edges).max(axis=0) + 1
    farthest[[0, -1]] = _FARTHEST  # the outermost bins hold what lies outside as well
    with np.errstate(over="ignore"):  # what is too large to square is too large
        small = first**2 <= count * second * (1 + _SLACK)
    within = (np.abs(first) <= count * farthest) & (second >= 0)
    within &= (second <= count * farthest**2) & small
    within &= np.abs(whole * 2.0**24 + rest) <= count * farthest**3 * (1 + _SLACK)
    if not (within.all() and np.all(table[1:] == np.rint(table[1:]))):
        yield f"the moments of {name} are not those of any values in its bins"


def _shape_faults(shapes: ShapeSketch, cases: int) -> Iterator[str]:
    if not np.isfinite(shapes.counts).all():
        yield "the histogram of shapes is not finite"
        return
    for axis, histogram in zip(AXES, shapes.counts, strict=True):
        yield from _count_faults(f"resampled shape {axis}", histogram, cases)


def _count_faults(name: str, histogram: np.ndarray, cases: float) -> Iterator[str]:
    if np.any(histogram < 0):
        yield f"the histogram of {name} has negative counts"
    elif not _whole(histogram):
        yield f"the histogram of {name} has counts that are no whole numbers"
    elif histogram.sum() != cases:
        yield f"the histogram of {name} counts {histogram.sum():g} cases, not {cases:g}"


def _whole(values: np.ndarray) -> bool:
    return bool(np.all(values >= 0) and np.all(values == np.rint(values)))
