"""What a site does to its sums before they leave: its own limits, which nobody else can lift."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fednnunet.errors import RefusalError
from fednnunet.planning.fingerprint import Fingerprint, Layout
from fednnunet.planning.histogram import CROP_RATIO, SPACING_MM, Grid, powers
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.sketch import INTENSITY_EDGES


def cleanse(fingerprint: Fingerprint, *, min_bin_count: int) -> Fingerprint:
    """The fingerprint as it may leave the site.

    A histogram bin that fewer than `min_bin_count` cases fall into is joined with its neighbours
    until it holds enough; the joined cases count as their mean. The sums over all bins (cases, mean
    intensity, standard deviation) do not change but by rounding.
    """
    result = Fingerprint(task=fingerprint.task, vector=fingerprint.to_vector())
    least = min_bin_count
    if least == 1:
        return result
    annotated = result.block("cases_with_foreground")
    if annotated[0] < least:
        annotated[:] = 0
    for name in Layout.of(result.task).blocks:
        block = result.block(name)
        if name.startswith("spacing_"):
            block[:] = _fold_grid(block, SPACING_MM, least)
        elif name == "crop_ratio":
            block[:] = _fold_grid(block, CROP_RATIO, least)
        elif name.startswith("shape_"):
            block[:] = _fold_integers(block, least)
        elif name.startswith("foreground_"):
            block[:] = _fold_foreground(block, least, annotated[0])
        elif name.endswith("_per_label"):
            rare = result.block("cases_per_label") < least
            block[rare] = 0
    return result


def cleanse_shapes(shapes: ShapeSketch, *, min_bin_count: int) -> ShapeSketch:
    """The second exchange as it may leave the site, by the same rule."""
    if min_bin_count == 1:
        return shapes
    folded = [_fold_integers(axis, min_bin_count) for axis in shapes.counts]
    return ShapeSketch(spacing_mm=shapes.spacing_mm, counts=np.stack(folded))


def check_cases(cases: int, min_cases: int, *, site: str = "") -> None:
    """Raise RefusalError if a site has fewer cases than its own policy asks for."""
    if cases < min_cases:
        raise RefusalError(
            f"{cases} cases are fewer than the {min_cases} that this site asks for",
            where=f"site {site}" if site else "",
            mend="add cases, or let the site lower min_cases or min_bin_count in its own policy",
            advice="too_few_cases",
        )


def _groups(counts: np.ndarray, least: int) -> Iterator[np.ndarray]:
    """Neighbouring occupied bins, joined until each group counts at least `least`.

    From both ends towards the middle, so that a rare tail joins the body and not the other way.
    """
    bins = np.flatnonzero(counts)
    total = np.cumsum(counts[bins])
    if not len(bins):
        return
    middle = int(np.searchsorted(total, total[-1] / 2))
    left, groups = [], []
    for b in bins[:middle]:
        left.append(b)
        if counts[left].sum() >= least:
            groups.append(left)
            left = []
    right: list[int] = []
    for b in bins[:middle:-1]:
        right.append(b)
        if counts[right].sum() >= least:
            groups.append(right)
            right = []
    centre = [*left, bins[middle], *right]
    if counts[centre].sum() < least and groups:
        centre += groups.pop()
    yield from (np.array(sorted(group)) for group in [*groups, centre])


def _fold_grid(table: np.ndarray, grid: Grid, least: int) -> np.ndarray:
    """Join bins of a (5, bins) table; a joined group becomes so many times its mean."""
    result = np.zeros_like(table)
    for group in _groups(table[0], least):
        if len(group) == 1:
            result[:, group] += table[:, group]
            continue
        count = table[0, group].sum()
        unit = 10.0 ** grid.decimals[group]
        mean = ((grid.centre[group] * table[0, group] + table[1, group]) / unit).sum() / count
        bin_, offset = grid.find(float(mean))
        result[:, bin_] += count * np.array(powers(offset), np.float64)
    return result


def _fold_integers(counts: np.ndarray, least: int) -> np.ndarray:
    result = np.zeros_like(counts)
    for group in _groups(counts, least):
        count = counts[group].sum()
        result[round(float((group * counts[group]).sum() / count))] += count
    return result


def _fold_foreground(table: np.ndarray, least: int, annotated: float) -> np.ndarray:
    """Join intensity bins that few cases have voxels in; weight, mean and variance are kept.

    Nothing is left of fewer `annotated` cases than the least.
    """
    result = np.zeros_like(table)
    if annotated < least:
        return result
    width = np.diff(INTENSITY_EDGES)
    for group in _groups_by_cases(table[0], least):
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
        result[0, target] += cases if cases >= least else annotated  # then all are in one group
        result[1, target] += weight
        result[2, target] += _exact((w * shift + scale * p).sum())
        result[3, target] += _exact((w * shift**2 + 2 * shift * scale * p + scale**2 * q).sum())
    return result


def _groups_by_cases(cases: np.ndarray, least: int) -> Iterator[np.ndarray]:
    """Join each rare bin to its neighbour towards the bin that most cases share.

    A case may stand in many bins, so counts are not summed: one safe bin makes a group safe.
    """
    bins = np.flatnonzero(cases)
    if not len(bins):
        return
    peak = int(np.argmax(cases[bins]))
    group: list[int] = []
    for i in range(peak):
        group.append(bins[i])
        if cases[bins[i]] >= least:
            yield np.array(group)
            group = []
    centre = [*group, bins[peak]]
    group = []
    for i in range(len(bins) - 1, peak, -1):
        group.append(bins[i])
        if cases[bins[i]] >= least:
            yield np.array(group[::-1])
            group = []
    yield np.array([*centre, *group[::-1]])


def _exact(value: float) -> float:
    """Rounded to a multiple of 2**-40, so that sums over sites stay exact."""
    return float(np.rint(value * 2.0**40) / 2.0**40)
