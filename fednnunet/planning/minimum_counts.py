"""What a site releases for planning: sums in which every entry stands for several cases.

With `min_bin_count` 1 (exact mode) these are the plain sums over cases, and a plan made of them is
nnU-Net's. They can contain values of single cases, so a site chooses this mode itself, in its own
`site.toml`. From 2 on, the release is made so that each entry stands for at least `min_bin_count`
cases. The rules are those of statistical disclosure control:

* spacing, shape and crop ratio: microaggregation. A value (to four digits) that at least twice
  `min_bin_count` cases share, or all cases, stays. Fewer than `min_bin_count` cases between two
  such values are recorded at the nearest one. Other cases are grouped with their neighbours in
  value, and recorded at the geometric mean of their group, rounded to 0.4 to 1 %. All cases of an
  entry have one value, so that the moments of a bin tell nothing more.
* foreground intensity: generalisation. The histogram has bins 10 % wide. Bins with voxels of fewer
  than `min_bin_count` cases, or in which a single case has most of the weight, are joined with
  their neighbours and recorded in the bin of their mean. The cumulative weights are rounded, and
  each bin's weight is spread evenly over its width, so that no finer moment is released.
* labels, label kinds, orientation: counts below `min_bin_count` are not released, nor are numbers
  of cases so close to all cases that the rest would be fewer than `min_bin_count`.

This bounds what can be read off one release. It is not differential privacy: whoever knows a
case's measurements can still test statistically whether it contributed (docs/privacy_planning.md).

Domingo-Ferrer and Torra, Ordinal, continuous and heterogeneous k-anonymity through
microaggregation, 2005; Hundepool et al., Statistical Disclosure Control, 2012.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fednnunet.errors import RefusalError
from fednnunet.planning.fingerprint import (
    AXES,
    LABEL_KINDS,
    CaseFingerprint,
    Fingerprint,
    check_case,
    largest_volume,
)
from fednnunet.planning.histogram import CROP_RATIO, SPACING_MM
from fednnunet.planning.label_volume import COMPLETE, volume_place, volumes_ml
from fednnunet.planning.orientation import UNKNOWN_ORIENTATION, orientation_place
from fednnunet.planning.shapes import ShapeSketch, Spacing, resampled_shapes
from fednnunet.planning.sketch import INTENSITY_BINS, INTENSITY_EDGES, ForegroundSketch
from fednnunet.task import Task

COARSE = 24  # fine intensity bins in one released bin: 24 x 0.4 % is about 10 %
_DOMINANT = 0.75  # largest share of a case in a released bin's weight, (1, k)-dominance rule
_WEIGHT_STEPS = 32  # cumulative weights are rounded to 1/32 of one case's weight
_QUANTUM = 2.0**40  # sums over sites stay exact


def release_fingerprint(
    task: Task, cases: Sequence[CaseFingerprint], *, min_bin_count: int
) -> Fingerprint:
    """The fingerprint that may leave a site, made from its cases; exact if `min_bin_count` is 1.

    Raises DataError for a case that does not belong to the task, and RefusalError for fewer than
    `min_bin_count` cases.
    """
    if min_bin_count == 1:
        return Fingerprint.of(task, cases)
    check_cases(len(cases), min_bin_count)
    for case in cases:
        check_case(task, case)
    result = Fingerprint.empty(task)
    result.block("cases")[:] = len(cases)
    for axis, name in enumerate(AXES):
        spacing = result.block(f"spacing_{name}")
        for value in common_values([case.spacing_mm[axis] for case in cases], min_bin_count):
            SPACING_MM.add(spacing, value)
        shape = result.block(f"shape_{name}")
        shape[:] = _count_integers([c.shape_vox[axis] for c in cases], min_bin_count, len(shape))
    for value in common_values([case.crop_ratio for case in cases], min_bin_count):
        CROP_RATIO.add(result.block("crop_ratio"), value)
    result.block("orientation")[:] = _orientations(cases, min_bin_count)
    _add_labels(result, cases, min_bin_count)
    return result


def release_shapes(
    spacing_mm: Spacing,
    cases: Sequence[tuple[Spacing, tuple[int, int, int]]],
    *,
    min_bin_count: int,
) -> ShapeSketch:
    """The histograms of resampled shapes that may leave a site, under the same rule.

    `cases` are pairs of spacing and cropped shape, (z, y, x). Raises DataError for huge shapes and
    RefusalError for fewer than `min_bin_count` cases.
    """
    if min_bin_count == 1:
        return ShapeSketch.of_cases(spacing_mm, cases)
    check_cases(len(cases), min_bin_count)
    result = ShapeSketch.empty(spacing_mm)
    shapes = resampled_shapes(spacing_mm, cases)
    for axis, counts in enumerate(result.counts):
        counts[:] = _count_integers([s[axis] for s in shapes], min_bin_count, len(counts))
    return result


def check_cases(cases: int, min_cases: int, *, site: str = "") -> None:
    """Raise RefusalError if a site has fewer cases than its own policy requires."""
    if cases < min_cases:
        raise RefusalError(
            f"{cases} cases are fewer than the {min_cases} that this site requires",
            where=f"site {site}" if site else "",
            mend="add cases, or let the site lower min_cases or min_bin_count in its own policy",
            advice="too_few_cases",
        )


def common_values(values: Sequence[float], min_count: int) -> list[float]:
    """Positive `values`, each replaced by one that stands for at least `min_count` cases.

    The result is sorted. There must be at least `min_count` values.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    keys = np.array([_rounded(value, 1e-3) for value in ordered])  # equal to four digits
    key_values, key_counts = np.unique(keys, return_counts=True)
    # a value that exactly min_count members share was chosen by their number: members stand out
    shared = key_values[(key_counts >= 2 * min_count) | (key_counts == len(ordered))]
    names = [_shared_value(ordered[keys == key], key, min_count) for key in shared]
    found = [name for key, name in zip(shared, names, strict=True) for _ in ordered[keys == key]]
    rare = ordered[~np.isin(keys, shared)]
    for run in _runs(rare, shared):
        if len(run) < min_count:
            nearest = (int(np.argmin(np.abs(np.log(shared) - math.log(v)))) for v in run)
            found += [names[place] for place in nearest]
            continue
        for group in _closest_groups(np.log(run), min_count):
            found += [_rounded(math.exp(float(group.mean())), 1e-2)] * len(group)
    return sorted(found)


def _runs(rare: np.ndarray, shared: np.ndarray) -> Iterator[np.ndarray]:
    """The sorted `rare` values, cut where a shared value lies between two of them."""
    run_of = np.searchsorted(shared, rare)
    for number in np.unique(run_of):
        yield rare[run_of == number]


def _closest_groups(values: np.ndarray, min_count: int) -> Iterator[np.ndarray]:
    """Cut sorted `values` into groups of at least `min_count`, with least squares within groups.

    Optimal univariate microaggregation (Hansen and Mukherjee, 2003): groups need at most
    `2 * min_count - 1` values, and the best cuts follow from those of all shorter lists.
    """
    n = len(values)
    s1, s2 = (np.concatenate([[0.0], np.cumsum(values**power)]) for power in (1, 2))
    cost, start = np.full(n + 1, np.inf), np.zeros(n + 1, np.int64)
    cost[0] = 0.0
    for end in range(min_count, n + 1):
        begin = np.arange(max(end - 2 * min_count + 1, 0), end - min_count + 1)
        spread = s2[end] - s2[begin] - (s1[end] - s1[begin]) ** 2 / (end - begin)
        total = cost[begin] + spread
        best = int(np.argmin(total))
        cost[end], start[end] = total[best], begin[best]
    while n:
        yield values[start[n] : n]
        n = int(start[n])


def _shared_value(values: np.ndarray, key: float, min_count: int) -> float:
    """The exact value if at least `min_count` of `values` have it, else their four digits."""
    distinct, counts = np.unique(values, return_counts=True)
    most = int(np.argmax(counts))
    return float(distinct[most]) if counts[most] >= min_count else key


def _rounded(value: float, step: float) -> float:
    """Rounded to a multiple of `step` (0.01, 0.001) of the value's power of ten.

    From 2 on to a double and from 5 on to a fivefold step, except for steps below 1 %.
    """
    power = math.floor(math.log10(value))
    leading = value / 10.0**power
    wider = 1 if leading < 2 or step < 1e-2 else 2 if leading < 5 else 5
    unit = step * wider
    return float(f"{round(leading / unit) * unit * 10.0**power:.6g}")


def _count_integers(values: Sequence[int], min_count: int, bins: int) -> np.ndarray:
    """Histogram (bins,) of whole numbers above 0, each replaced by a common one."""
    common = common_values([max(value, 1) for value in values], min_count)
    return np.bincount(np.rint(common).astype(np.int64), minlength=bins).astype(np.float64)


def _common_count(count: float, cases: int, min_count: int) -> int:
    """A number of `cases`; too few count as none, and all but too few as all."""
    if count < min_count:
        return 0
    return cases if cases - count < min_count else int(count)


def _orientations(cases: Sequence[CaseFingerprint], min_count: int) -> np.ndarray:
    """Cases per orientation; rare ones count as the most frequent, or as unknown without one."""
    places = [orientation_place(case.orientation) for case in cases]
    counts = np.bincount(places, minlength=UNKNOWN_ORIENTATION + 1).astype(np.float64)
    rare = counts < min_count
    most = UNKNOWN_ORIENTATION if rare.all() else int(np.argmax(counts))
    moved = counts[rare].sum()
    counts[rare] = 0
    counts[most] += moved
    return counts


def _add_labels(result: Fingerprint, cases: Sequence[CaseFingerprint], min_count: int) -> None:
    """Fill the blocks of labels, their kinds, and foreground intensities."""
    voxels = np.array([case.voxels_per_label for case in cases], np.float64)
    released = [_common_count(n, len(cases), min_count) for n in (voxels > 0).sum(axis=0)]
    result.block("cases_per_label")[:] = released
    sums = [float(f"{total:.2g}") for total in voxels.sum(axis=0)]
    share = min(1.0, largest_volume(result) / max(sum(sums), 1.0))
    sums = [
        max(math.floor(total * share), n) if n else 0
        for total, n in zip(sums, released, strict=True)
    ]
    result.block("voxels_per_label")[:] = sums
    _add_volumes(result, cases, released, min_count)
    for place, kind in enumerate(LABEL_KINDS):
        of_kind = [case for case in cases if case.kind == kind]
        total = _common_count(len(of_kind), len(cases), min_count)
        result.block("label_kinds")[place] = [
            _common_count(sum(c.says_of(value) for c in of_kind), total, min_count)
            for value in range(len(result.task.labels))
        ]
    annotated = [case for case in cases if not all(sketch.empty for sketch in case.foreground)]
    total = _common_count(len(annotated), len(cases), min_count)
    result.block("cases_with_foreground")[:] = total
    for channel in range(len(result.task.channels)) if total else ():
        sketches = [case.foreground[channel] for case in annotated]
        result.block(f"foreground_{channel}")[:] = release_intensities(sketches, total, min_count)


def _add_volumes(
    result: Fingerprint, cases: Sequence[CaseFingerprint], released: Sequence[int], min_count: int
) -> None:
    """Mark the bins of the labels' common volumes, each with the released number of cases."""
    table = result.block("volume_per_label")
    whole = [case for case in cases if case.kind in COMPLETE]
    volumes = [volumes_ml(case.spacing_mm, case.voxels_per_label) for case in whole]
    for value in range(1, len(table)):
        found = [row[value] for row in volumes if row[value] > 0]
        if not released[value] or len(found) < min_count:
            continue
        for volume in set(common_values(found, min_count)):
            table[value, volume_place(volume)] = released[value]


_MIDDLE = INTENSITY_BINS // 2  # the bin around 0
_FROM_ZERO = np.arange(INTENSITY_BINS) - _MIDDLE
_SIDE = -(-_MIDDLE // COARSE)
COARSE_OF = np.sign(_FROM_ZERO) * (-(-np.abs(_FROM_ZERO) // COARSE)) + _SIDE
COARSE_BINS = int(COARSE_OF[-1]) + 1
_COARSE_EDGES = np.append(
    INTENSITY_EDGES[np.searchsorted(COARSE_OF, np.arange(COARSE_BINS))], INTENSITY_EDGES[-1]
)
_COARSE_CENTRES = (_COARSE_EDGES[:-1] + _COARSE_EDGES[1:]) / 2


def release_intensities(
    sketches: Sequence[ForegroundSketch], total: int, min_count: int
) -> np.ndarray:
    """The released intensity table (4, bins) of `sketches`, with a total weight of `total`.

    In how many cases a bin has voxels is not released: the count of each occupied bin is `total`.
    """
    weights = np.stack(
        [np.bincount(COARSE_OF[s.bins], s.columns[1], COARSE_BINS) for s in sketches]
    )
    return spread_intensities(_merge_rare(weights, min_count), total)


def spread_intensities(merged: np.ndarray, total: int) -> np.ndarray:
    """The intensity table (4, bins) of weights (coarse bins,), with a total weight of `total`."""
    share = np.cumsum(merged) / merged.sum()
    steps = np.rint(share * total * _WEIGHT_STEPS) / _WEIGHT_STEPS
    kept = np.diff(steps, prepend=0.0)
    width = np.diff(INTENSITY_EDGES)
    within = width / np.bincount(COARSE_OF, width, COARSE_BINS)[COARSE_OF]
    weight = _exact(kept[COARSE_OF] * within)
    table = np.stack([np.where(weight > 0, total, 0), weight, weight / 2, weight / 3])
    return np.vstack([table[:1], _exact(table[1:])])


def _merge_rare(weights: np.ndarray, min_count: int) -> np.ndarray:
    """Sum `weights` (cases, bins) over cases, in bins that few cases or one do not dominate.

    From both ends to the heaviest bin, neighbouring bins are joined until at least `min_count`
    cases have weight in the group and none more than `_DOMINANT` of it. The weight of a group is
    recorded in the bin in which its mean lies.
    """
    total = weights.sum(axis=0)
    result, peak = np.zeros(len(total)), int(np.argmax(total))
    occupied = np.flatnonzero(total)
    left, right = occupied[occupied < peak], occupied[occupied > peak][::-1]
    centre = [peak]
    for side in (left, right):
        group: list[int] = []
        for place in side:
            group.append(int(place))
            if _is_common(weights[:, group].sum(axis=1), min_count):
                _record(result, total, group)
                group = []
        centre += group
    _record(result, total, centre)
    return result


def _is_common(weights: np.ndarray, min_count: int) -> bool:
    """Whether `weights` (cases,) has enough cases, and none with most of the weight."""
    return (weights > 0).sum() >= min_count and weights.max() <= _DOMINANT * weights.sum()


def _record(result: np.ndarray, total: np.ndarray, group: list[int]) -> None:
    """Add the weight of a `group` of bins to the bin in which its mean intensity lies."""
    weight = total[group]
    mean = float((weight * _COARSE_CENTRES[group]).sum() / weight.sum())
    result[int(np.searchsorted(_COARSE_EDGES, mean, side="right")) - 1] += weight.sum()


def _exact(values: np.ndarray) -> np.ndarray:
    """Rounded to multiples of 2**-40."""
    return np.rint(values * _QUANTUM) / _QUANTUM
