"""Check that the sums of a site can come from cases; lists every fault with the site's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from fednnunet.errors import ReplyError, raise_all
from fednnunet.planning.fingerprint import AXES, Fingerprint, largest_volume
from fednnunet.planning.histogram import CROP_RATIO, PART, SPACING_MM, Binning
from fednnunet.planning.shapes import ShapeSketch

_MAX_OFFSET = 10**12  # units from the centre of an outermost bin
MAX_CASES = 36_000  # per site; with more, sums of moments would no longer be exact
_SLACK = 1e-6  # of the weight of a case; weights are rounded to 2**-40 a bin


def validate(fingerprint: Fingerprint, *, site: str) -> None:
    """Raise ReplyError (or several, in ManyFaults) if no set of cases can have these sums."""
    _raise(_fingerprint_faults(fingerprint), site)


def validate_shapes(shapes: ShapeSketch, *, site: str, cases: int) -> None:
    """Raise ReplyError unless the shapes are those of `cases` cases."""
    _raise(_shape_faults(shapes, cases), site)


def shares(fingerprints: Mapping[str, Fingerprint]) -> dict[str, float]:
    """Each site's share of all cases in the merged fingerprint, from 0 to 1, by site name.

    It is the weight with which a site decides about the plan; a person should see it before the
    plan is used.
    """
    total = sum(fingerprint.cases for fingerprint in fingerprints.values())
    return {name: f.cases / max(total, 1) for name, f in sorted(fingerprints.items())}


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
    if not 1 <= cases <= MAX_CASES or cases != round(cases):
        yield f"the number of cases is {cases:g}, not one of 1 to {MAX_CASES}"
    yield from _value_faults("crop ratio", fingerprint.block("crop_ratio"), CROP_RATIO, cases)
    ratio = fingerprint.block("crop_ratio")[:, -1]
    if ratio[1] > ratio[0] * CROP_RATIO.find(1.0)[1]:
        yield "the histogram of crop ratio counts values above 1"
    for axis in AXES:
        table = fingerprint.block(f"spacing_{axis}")
        yield from _value_faults(f"spacing {axis}", table, SPACING_MM, cases)
        shapes = fingerprint.block(f"shape_{axis}")
        yield from _count_faults(f"shape {axis}", shapes, cases)
        if shapes[0]:
            yield f"the histogram of shape {axis} counts volumes of 0 voxels"
    yield from _count_faults("orientation", fingerprint.block("orientation"), cases)
    yield from _label_faults(fingerprint, cases)
    with_foreground = fingerprint.block("cases_with_foreground")[0]
    for channel, name in enumerate(fingerprint.task.channels):
        table = fingerprint.block(f"foreground_{channel}")
        yield from _foreground_faults(name, table, with_foreground)


def _label_faults(fingerprint: Fingerprint, cases: float) -> Iterator[str]:
    with_foreground = fingerprint.block("cases_with_foreground")[0]
    labelled = fingerprint.block("cases_per_label")
    voxels = fingerprint.block("voxels_per_label")
    kinds = fingerprint.block("label_kinds")
    if not _whole(np.append(labelled, with_foreground)) or max(*labelled, with_foreground) > cases:
        yield (
            f"of {cases:g} cases, {with_foreground:g} have foreground and "
            f"{labelled.tolist()} have each label"
        )
    elif max(labelled[1:], default=0) > with_foreground:
        yield (
            f"{max(labelled[1:]):g} cases have a label, but only {with_foreground:g} cases have "
            "foreground"
        )
    if not _whole(voxels) or np.any(voxels < labelled) or np.any((voxels > 0) & (labelled < 1)):
        yield "the numbers of voxels per label do not match the numbers of cases"
    elif voxels.sum() > largest_volume(fingerprint) + labelled.sum():
        yield f"the labels have {voxels.sum():.6g} voxels, more than volumes of these shapes"
    volumes = fingerprint.block("volume_per_label")
    if not _whole(volumes) or np.any(volumes > labelled[:, None]) or volumes[0].any():
        yield "the volumes of labels are not those of the cases that have them"
    if not _whole(kinds) or np.any(kinds.sum(axis=0) > cases):
        yield f"the kinds of labels are not those of {cases:g} cases"


def _value_faults(name: str, table: np.ndarray, binning: Binning, cases: float) -> Iterator[str]:
    """Faults of a (5, bins) table: its counts, and moments that no values in a bin can have."""
    faults = list(_count_faults(name, table[0], cases))
    yield from faults
    if faults:
        return
    if table[1:, table[0] == 0].any() or not np.array_equal(table, np.rint(table)):
        yield f"the histogram of {name} has moments where it counts no case"
    elif not all(_possible(binning, int(i), table[:, i]) for i in np.flatnonzero(table[0])):
        yield f"the histogram of {name} has moments that no values in these bins have"


def _possible(binning: Binning, index: int, column: np.ndarray) -> bool:
    """Whether values in bin `index` can have these sums of powers, in exact whole numbers."""
    count, s1, s2, whole, rest = (int(value) for value in column)
    if count * s2 < s1 * s1 or not 0 <= rest < count * PART:
        return False
    if index in (0, binning.bins - 1):  # these bins also take values out of range
        reach = _MAX_OFFSET
    else:
        edges = binning.edges[index : index + 2] * 10.0 ** int(binning.decimals[index])
        reach = int(np.abs(edges - binning.centre[index]).max()) + 2
    cubes = whole * PART + rest
    return max(abs(s1), s2 // reach, abs(cubes) // reach**2) <= count * reach


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
    elif np.any(weight > cases + _SLACK):
        yield f"the intensity histogram of channel {name} has more weight than cases in a bin"
    elif np.any(first**2 > weight * second + _SLACK * (1 + second)):
        yield f"the intensity moments of channel {name} have a negative variance"
    elif np.any((np.abs(first) > weight + _SLACK)[1:-1] | (second > weight + _SLACK)[1:-1]):
        yield f"the intensity moments of channel {name} lie outside of their bins"


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
        yield f"the histogram of {name} has counts that are not whole numbers"
    elif histogram.sum() != cases:
        yield f"the histogram of {name} counts {histogram.sum():g} cases, not {cases:g}"


def _whole(values: np.ndarray) -> bool:
    return bool(np.all(values >= 0) and np.all(values == np.rint(values)))
