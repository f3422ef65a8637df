"""Histograms with fixed bins and moments per bin: additive, and precise enough for exact medians.

A bin stores integers: the number of its values and the sums of the first three powers of their
offset from the bin's centre, in the bin's own decimal unit. Integer sums do not depend on the order
of summation (up to 36,000 values per bin). If a bin holds at most three values, or at most two
distinct ones, its values are recovered *exactly* from these sums; otherwise to within the bin's
width. The median spacing is therefore exact in practice, and in the worst case within 0.02 %
(0.1 % below 0.2 mm and above 20 mm).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COLUMNS = 5  # count; sums of the offset, its square, and its cube in two parts (whole 2**24, rest)
PART = 2**24  # the sum of cubes is kept as whole multiples of it and a rest


@dataclass(frozen=True, slots=True, eq=False)
class Binning:
    """The bins of a histogram: half-open intervals `[edges[i], edges[i + 1])`.

    Values in bin i are rounded to multiples of `10**-decimals[i]`; offsets count these units from
    `centre[i]`. With `single`, values are assumed to be float32 numbers or short decimals: nine
    digits identify a float32 number, and `value` then returns exactly that number.
    """

    name: str
    edges: np.ndarray
    decimals: np.ndarray
    centre: np.ndarray
    single: bool = False

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.decimals)

    def find(self, value: float) -> tuple[int, int]:
        """Bin and integer offset of a value; the first and last bin take values out of range."""
        index = int(np.searchsorted(self.edges, value, side="right")) - 1
        index = min(max(index, 0), self.bins - 1)
        unit = 10 ** int(self.decimals[index])
        return index, round(value * unit) - int(self.centre[index])

    def add(self, table: np.ndarray, value: float) -> None:
        """Count one value in a `table` (5, bins), in place."""
        index, offset = self.find(value)
        table[:, index] += powers(offset)

    def value(self, index: int, offset: int) -> float:
        """The value at `offset` units from the centre of a bin."""
        value = (int(self.centre[index]) + offset) / 10 ** int(self.decimals[index])
        near = float(np.float32(value))
        noisy = value != float(f"{value:.7g}") and f"{near:.9g}" == f"{value:.9g}"
        return near if self.single and noisy else value


def powers(offset: int) -> tuple[int, ...]:
    """What one value adds to the columns of its bin."""
    return (1, offset, offset**2, *divmod(offset**3, PART))


def log_segments(name: str, segments: Sequence[tuple[float, float, float, int]]) -> Binning:
    """Logarithmic bins; a segment is (from, to, relative width, significant digits kept)."""
    lows: list[np.ndarray] = []
    decimals: list[np.ndarray] = []
    for low, high, width, digits in segments:
        count = math.ceil(math.log(high / low) / width)
        edges = low * np.exp(np.arange(count) * (math.log(high / low) / count))
        lows.append(edges)
        decimals.append(digits - 1 - np.floor(np.log10(edges)).astype(np.int64))
    edges = np.append(np.concatenate(lows), segments[-1][1])
    return _binning(name, edges, np.concatenate(decimals), single=True)


def linear(name: str, *, bins: int, per_unit: int, decimals: int) -> Binning:
    """`bins` bins from 0 on, `per_unit` of them to 1."""
    return _binning(name, np.arange(bins + 1) / per_unit, np.full(bins, decimals, np.int64))


def _binning(
    name: str, edges: np.ndarray, decimals: np.ndarray, *, single: bool = False
) -> Binning:
    middle = (edges[:-1] + edges[1:]) / 2
    centre = np.rint(middle * 10.0**decimals).astype(np.int64)
    return Binning(name, edges, decimals, centre, single)


# 0.1993 and 20.03 mm do not occur as spacings, so no value lies on an edge. Converters of 2D images
# write a spacing of 999 mm for the missing axis.
SPACING_MM = log_segments(
    "spacing_mm", [(1e-3, 0.1993, 1e-3, 9), (0.1993, 20.03, 2e-4, 9), (20.03, 2e3, 1e-3, 9)]
)
CROP_RATIO = linear("crop_ratio", bins=1001, per_unit=1000, decimals=7)
SHAPE_BINS = 16384  # one bin an integer, from 0


def order_statistic(table: np.ndarray, binning: Binning, rank: int) -> float:
    """The value of that rank (0 = smallest) among all values counted in `table` (5, bins)."""
    total = np.cumsum(table[0])
    index = int(np.searchsorted(total, rank, side="right"))
    if index >= binning.bins or rank < 0:
        raise IndexError(f"no value of rank {rank} among {total[-1]:g}")
    count, s1, s2, whole, rest = (int(x) for x in table[:, index])
    within = rank - int(total[index]) + count
    return _value_within(binning, index, count, (s1, s2, whole * PART + rest), within)


def percentile(table: np.ndarray, binning: Binning, percent: float) -> float:
    """A percentile with linear interpolation between order statistics, as NumPy defines it."""
    place = (table[0].sum() - 1) * (percent / 100)
    low = math.floor(place)
    share = place - low
    a = order_statistic(table, binning, low)
    b = order_statistic(table, binning, math.ceil(place))
    return b - (b - a) * (1 - share) if share >= 0.5 else a + (b - a) * share


def integer_median(counts: np.ndarray) -> float:
    """Median of integers from one bin per integer; the mean of the middle two if even."""
    n = int(counts.sum())
    total = np.cumsum(counts)
    low, high = (int(np.searchsorted(total, r, side="right")) for r in ((n - 1) // 2, n // 2))
    return (low + high) / 2


def _value_within(
    binning: Binning, index: int, count: int, sums: Sequence[int], rank: int
) -> float:
    s1, s2, s3 = sums
    spread = count * s2 - s1 * s1
    if spread == 0:
        return binning.value(index, s1 // count)
    points = _two_points(count, s1, s2, s3, spread) or _three_values(count, s1, s2, s3)
    if points:
        return binning.value(index, points[rank])
    # a uniform distribution with the bin's mean and standard deviation
    offset = s1 / count + math.sqrt(3 * spread) / count * ((2 * rank + 1) / count - 1)
    value = binning.value(index, round(offset))
    return float(np.clip(value, binning.edges[index], binning.edges[index + 1]))


def _two_points(count: int, s1: int, s2: int, s3: int, spread: int) -> list[int]:
    """The sorted values if they take two distinct values, each any number of times; else none."""
    slope = (s1 * s2 - count * s3) / spread  # of the polynomial whose roots are the two values
    constant = (s1 * s3 - s2 * s2) / spread
    root = math.sqrt(max(slope * slope - 4 * constant, 0.0))
    low, high = round((-slope - root) / 2), round((-slope + root) / 2)
    if low == high:
        return []
    above = round((s1 - count * low) / (high - low))
    if not 0 < above < count:
        return []
    below = count - above
    sums = [below * low**power + above * high**power for power in (1, 2, 3)]
    return [low] * below + [high] * above if sums == [s1, s2, s3] else []


def _three_values(count: int, s1: int, s2: int, s3: int) -> list[int]:
    """The sorted values if there are three; else none (Newton's identities)."""
    if count != 3:
        return []
    pairs, triple = (s1 * s1 - s2) / 2, (s1**3 - 3 * s1 * s2 + 2 * s3) / 6
    roots = np.sort(np.roots([1.0, -s1, pairs, -triple]).real)
    values = [round(root) for root in roots]
    exact = [sum(v**power for v in values) for power in (1, 2, 3)] == [s1, s2, s3]
    return values if exact else []
