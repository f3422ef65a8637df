"""Statistics of paired differences.

`signed_rank` is Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945;
`holm` is Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
Statistics 6, 1979; `bootstrap_interval` is the percentile interval of Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993; `t_interval` is Student, "The probable error of a mean",
Biometrika 6, 1908.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

Alternative = Literal["two-sided", "greater", "less"]
EXACT = 100
RESAMPLES = 10_000


def signed_rank(differences: Sequence[float], *, alternative: Alternative = "two-sided") -> float:
    """The p-value of Wilcoxon's signed-rank test of differences symmetric about 0.

    The alternative "greater" is that they are above 0. Zeros are dropped; without other values the
    result is 1. Up to `EXACT` differences the exact distribution is used, with mid-ranks for ties;
    beyond, the normal approximation. Raises ValueError for NaN.
    """
    values = np.asarray(differences, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError("differences must be defined")
    values = values[values != 0]
    if not values.size:
        return 1.0
    if values.size > EXACT:
        test = stats.wilcoxon(values, alternative=alternative, method="asymptotic")
        return float(test.pvalue)
    ranks = np.rint(2 * stats.rankdata(np.abs(values))).astype(int)  # doubled: whole with ties
    probability = _rank_sum_distribution(ranks)
    observed = int(ranks[values > 0].sum())
    above = float(probability[observed:].sum())
    below = float(probability[: observed + 1].sum())
    one_sided = {"greater": above, "less": below}
    return min(1.0, one_sided.get(alternative, 2 * min(above, below)))


def _rank_sum_distribution(ranks: np.ndarray) -> np.ndarray:
    """Probability of each sum if each of `ranks` (integers) is included with probability 1/2."""
    probability = np.zeros(int(ranks.sum()) + 1)
    probability[0] = 1.0
    for rank in ranks:
        probability[rank:] += probability[:-rank].copy()
        probability /= 2
    return probability


def smallest_p(count: int, *, alternative: Alternative = "two-sided") -> float:
    """The smallest p-value that `signed_rank` can give for `count` differences: all of one sign."""
    return min(1.0, 0.5**count * (2 if alternative == "two-sided" else 1))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values with Holm's correction for multiple tests, in the same order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(highest, 1.0)
    return tuple(corrected)


def bootstrap_interval(
    strata: Sequence[Sequence[float]],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of the mean over all values.

    Each stratum (the cases of a site) is resampled separately, so that the number of cases per site
    is kept. Without values, both ends are NaN.
    """
    parts = [np.asarray(part, dtype=np.float64) for part in strata if len(part)]
    count = sum(part.size for part in parts)
    if not count:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    sums = np.zeros(resamples)
    for part in parts:
        sums += part[rng.integers(part.size, size=(resamples, part.size))].sum(axis=1)
    low, high = np.quantile(sums / count, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def t_interval(strata: Sequence[tuple[int, float]], *, level: float = 0.95) -> float:
    """Half the width of the interval of the mean over all values, by Student's t.

    Each stratum (the cases of a site) is its number of values, at least 2, and their standard
    deviation (n - 1). The degrees of freedom are those of all strata together.
    """
    count = sum(size for size, _ in strata)
    variance = math.fsum(size * std**2 for size, std in strata) / count**2
    freedom = sum(size - 1 for size, _ in strata)
    return float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)
