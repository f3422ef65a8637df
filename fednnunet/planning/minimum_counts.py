"""Small-count suppression: no histogram bin that leaves a site stands for very few cases.

Statistical offices call this a minimum frequency rule. The site's own policy sets the limit; the
coordinator cannot change it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fednnunet.errors import RefusalError
from fednnunet.planning.fingerprint import Fingerprint, Layout
from fednnunet.planning.histogram import CROP_RATIO, SPACING_MM, Binning, powers
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.sketch import INTENSITY_EDGES


def suppress_small_counts(fingerprint: Fingerprint, *, min_bin_count: int) -> Fingerprint:
    """The fingerprint after small-count suppression; this is what may leave the site.

    Neighbouring histogram bins are merged until each merged bin holds at least `min_bin_count`
    cases; its cases are then recorded at their mean. Sums over all bins (number of cases, mean and
    standard deviation of intensity) change by rounding only.
    """
    result = Fingerprint(task=fingerprint.task, vector=fingerprint.to_vector())
    if min_bin_count == 1:
        return result
    with_foreground = result.block("cases_with_foreground")
    if with_foreground[0] < min_bin_count:
        with_foreground[:] = 0
    for name in Layout.of(result.task).blocks:
        block = result.block(name)
        if name.startswith("spacing_"):
            block[:] = _merge_values(block, SPACING_MM, min_bin_count)
        elif name == "crop_ratio":
            block[:] = _merge_values(block, CROP_RATIO, min_bin_count)
        elif name.startswith("shape_"):
            block[:] = _merge_integers(block, min_bin_count)
        elif name.startswith("foreground_"):
            block[:] = _merge_intensities(block, min_bin_count, with_foreground[0])
        elif name.endswith("_per_label"):
            rare = result.block("cases_per_label") < min_bin_count
            block[rare] = 0
    return result


def suppress_small_shape_counts(shapes: ShapeSketch, *, min_bin_count: int) -> ShapeSketch:
    """The same rule for the histograms of resampled shapes (the second exchange)."""
    if min_bin_count == 1:
        return shapes
    merged = [_merge_integers(axis, min_bin_count) for axis in shapes.counts]
    return ShapeSketch(spacing_mm=shapes.spacing_mm, counts=np.stack(merged))


def check_cases(cases: int, min_cases: int, *, site: str = "") -> None:
    """Raise RefusalError if a site has fewer cases than its own policy requires."""
    if cases < min_cases:
        raise RefusalError(
            f"{cases} cases are fewer than the {min_cases} that this site requires",
            where=f"site {site}" if site else "",
            mend="add cases, or let the site lower min_cases or min_bin_count in its own policy",
            advice="too_few_cases",
        )


def _groups(counts: np.ndarray, min_count: int) -> Iterator[np.ndarray]:
    """Groups of neighbouring occupied bins, each with a total of at least `min_count`.

    Works from both ends towards the median, so that sparse tails are merged into the body of the
    distribution.
    """
    bins = np.flatnonzero(counts)
    total = np.cumsum(counts[bins])
    if not len(bins):
        return
    middle = int(np.searchsorted(total, total[-1] / 2))
    left, groups = [], []
    for b in bins[:middle]:
        left.append(b)
        if counts[left].sum() >= min_count:
            groups.append(left)
            left = []
    right: list[int] = []
    for b in bins[:middle:-1]:
        right.append(b)
        if counts[right].sum() >= min_count:
            groups.append(right)
            right = []
    centre = [*left, bins[middle], *right]
    if counts[centre].sum() < min_count and groups:
        centre += groups.pop()
    yield from (np.array(sorted(group)) for group in [*groups, centre])


def _merge_values(table: np.ndarray, binning: Binning, min_count: int) -> np.ndarray:
    """Merge bins of a (5, bins) table; each value of a merged group is replaced by their mean."""
    result = np.zeros_like(table)
    for group in _groups(table[0], min_count):
        if len(group) == 1:
            result[:, group] += table[:, group]
            continue
        count = table[0, group].sum()
        unit = 10.0 ** binning.decimals[group]
        mean = ((binning.centre[group] * table[0, group] + table[1, group]) / unit).sum() / count
        bin_, offset = binning.find(float(mean))
        result[:, bin_] += count * np.array(powers(offset), np.float64)
    return result


def _merge_integers(counts: np.ndarray, min_count: int) -> np.ndarray:
    result = np.zeros_like(counts)
    for group in _groups(counts, min_count):
        count = counts[group].sum()
        result[round(float((group * counts[group]).sum() / count))] += count
    return result


def _merge_intensities(table: np.ndarray, min_count: int, with_foreground: float) -> np.ndarray:
    """Merge intensity bins in which few cases have voxels; weight, mean and variance are kept.

    With fewer than `min_count` cases `with_foreground` the result is all zero.
    """
    result = np.zeros_like(table)
    if with_foreground < min_count:
        return result
    width = np.diff(INTENSITY_EDGES)
    for group in _groups_by_cases(table[0], min_count):
        cases, weight = table[0, group].max(), table[1, group].sum()
        if weight == 0:
            continue
        low = INTENSITY_EDGES[group]
        first = (table[1, group] * low + width[group] * table[2, group]).sum() / weight
        target = int(
            np.clip(np.searchsorted(INTENSITY_EDGES, first, "right") - 1, 0, len(width) - 1)
        )
        shift, scale = (low - INTENSITY_EDGES[target]) / width[target], width[group] / width[target]
        w, p, q = table[1:, group]
        # if no bin has enough cases, all bins form one group that every case belongs to
        result[0, target] += cases if cases >= min_count else with_foreground
        result[1, target] += weight
        result[2, target] += _exact((w * shift + scale * p).sum())
        result[3, target] += _exact((w * shift**2 + 2 * shift * scale * p + scale**2 * q).sum())
    return result


def _groups_by_cases(cases: np.ndarray, min_count: int) -> Iterator[np.ndarray]:
    """Merge each rare bin with its neighbour on the side of the bin with the most cases.

    One case has voxels in many bins, so the counts of bins cannot be added: a group is large enough
    if one of its bins is.
    """
    bins = np.flatnonzero(cases)
    if not len(bins):
        return
    peak = int(np.argmax(cases[bins]))
    group: list[int] = []
    for i in range(peak):
        group.append(bins[i])
        if cases[bins[i]] >= min_count:
            yield np.array(group)
            group = []
    centre = [*group, bins[peak]]
    group = []
    for i in range(len(bins) - 1, peak, -1):
        group.append(bins[i])
        if cases[bins[i]] >= min_count:
            yield np.array(group[::-1])
            group = []
    yield np.array([*centre, *group[::-1]])


def _exact(value: float) -> float:
    """Rounded to a multiple of 2**-40, so that sums over sites stay exact."""
    return float(np.rint(value * 2.0**40) / 2.0**40)
