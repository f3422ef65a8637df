"""A quantile sketch of foreground intensities that can be summed over cases.

Each case has the same weight, whatever its size. The bins are logarithmic, symmetric about 0 and
0.4 % wide, with one bin around 0. A bin stores the number of cases with voxels in it, their summed
weight, and the weighted first and second moments of the position in the bin (0 at its lower edge,
1 at its upper). Mean and standard deviation are therefore exact. A percentile is exact if its bin
holds a single value (integer intensities up to 250), and otherwise interpolated within the bin.

Weights are multiples of 2**-40, so that sums over up to 8,192 cases do not depend on their order,
bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

FOREGROUND_COLUMNS = 4  # cases, weight, weighted position, weighted squared position
_SMALLEST, _LARGEST, _WIDTH = 1e-6, 1e9, 0.004
_QUANTUM = 2.0**40


def _edges() -> np.ndarray:
    count = math.ceil(math.log(_LARGEST / _SMALLEST) / _WIDTH)
    positive = _SMALLEST * np.exp(np.arange(count + 1) * _WIDTH)
    return np.concatenate([-positive[::-1], positive])


INTENSITY_EDGES = _edges()
INTENSITY_BINS = len(INTENSITY_EDGES) - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForegroundSketch:
    """One case's foreground intensities in one channel, as a sparse histogram of total weight 1.

    `bins` (k,) are the occupied bins and `columns` (4, k) their contents. A single sketch never
    leaves the site; only sums over cases do.
    """

    bins: np.ndarray
    columns: np.ndarray

    @classmethod
    def of_voxels(cls, values: np.ndarray) -> ForegroundSketch:
        """Sketch finite `values` (n,) of any numeric dtype; no values give an empty sketch."""
        distinct, counts = np.unique(np.asarray(values).ravel(), return_counts=True)
        distinct = distinct.astype(np.float64)
        index = np.searchsorted(INTENSITY_EDGES, distinct, side="right") - 1
        index = np.clip(index, 0, INTENSITY_BINS - 1)
        low, high = INTENSITY_EDGES[index], INTENSITY_EDGES[index + 1]
        place = (distinct - low) / (high - low)
        bins, start = np.unique(index, return_index=True)
        if not len(bins):
            return cls(bins=bins, columns=np.zeros((FOREGROUND_COLUMNS, 0)))
        weight = counts / counts.sum()
        moments = np.stack([weight, weight * place, weight * place**2])
        sums = np.rint(np.add.reduceat(moments, start, axis=1) * _QUANTUM) / _QUANTUM
        return cls(bins=bins, columns=np.vstack([np.ones(len(bins)), sums]))

    @property
    def empty(self) -> bool:
        """Whether the case has no foreground."""
        return not len(self.bins)

    def add_to(self, table: np.ndarray) -> None:
        """Add to a sum over cases `table` (4, bins), in place."""
        table[:, self.bins] += self.columns


def bin_moments(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Occupied bins (k,) of a sum over cases (4, bins), their weights, means and deviations."""
    bins = np.flatnonzero(table[1] > 0)
    weight, first, second = table[1:, bins]
    low, width = INTENSITY_EDGES[bins], np.diff(INTENSITY_EDGES)[bins]
    mean = first / weight
    variance = np.maximum(second / weight - mean**2, 0)
    # a smaller variance comes from rounding: the bin holds a single value
    deviation = np.where(variance < 1e-9, 0, np.sqrt(variance))
    return bins, weight, low + width * mean, width * deviation


def mean_and_std(table: np.ndarray) -> tuple[float, float]:
    """Mean and population standard deviation, each case with the same weight."""
    _, weight, mean, deviation = bin_moments(table)
    total = weight.sum()
    centre = float((weight * mean).sum() / total)
    variance = (weight * ((mean - centre) ** 2 + deviation**2)).sum() / total
    return centre, math.sqrt(variance)


def quantile(table: np.ndarray, share: float) -> float:
    """The intensity below which `share` (0 to 1) of the weight lies."""
    bins, weight, mean, deviation = bin_moments(table)
    total = np.cumsum(weight)
    goal = share * total[-1]
    i = min(int(np.searchsorted(total, goal, side="left")), len(bins) - 1)
    within = (goal - (total[i] - weight[i])) / weight[i]
    if deviation[i] == 0:
        return float(f"{mean[i]:.10g}")  # the single value of the bin, without rounding noise
    # a uniform distribution with the bin's mean and standard deviation
    value = mean[i] + math.sqrt(3) * deviation[i] * (2 * within - 1)
    return float(np.clip(value, INTENSITY_EDGES[bins[i]], INTENSITY_EDGES[bins[i] + 1]))
