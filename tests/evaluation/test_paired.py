"""The statistics against scipy, against tables, and against cases worked by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fednnunet.evaluation.paired import (
    bootstrap_interval,
    holm,
    signed_rank,
    smallest_p,
    t_interval,
)


def _exact(values: list[float]) -> float:
    """The two-sided p-value by trying every assignment of signs: the test's definition."""
    ranks = stats.rankdata(np.abs(values))
    seen = abs(float(np.sum(np.sign(values) * ranks)))
    sums = [abs(sum(signs * ranks)) for signs in itertools.product((-1, 1), repeat=len(values))]
    return float(np.mean([total >= seen - 1e-9 for total in sums]))


@pytest.mark.parametrize("seed", range(5))
def test_the_signed_rank_test_is_its_definition(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.3, 1, 9).tolist()
    assert signed_rank(values) == pytest.approx(_exact(values), abs=1e-12)
    one_sided = signed_rank(values, alternative="greater") + signed_rank(values, alternative="less")
    assert one_sided > 1  # both count what was seen


def test_ties_share_their_ranks_and_many_differences_are_scipys() -> None:
    tied = [0.1, 0.1, -0.1, 0.2, 0.2, -0.3, 0.4]
    assert signed_rank(tied) == pytest.approx(_exact(tied), abs=1e-12)
    for count in (40, 150):
        values = np.random.default_rng(count).normal(0.1, 1, count)
        for way in ("two-sided", "greater", "less"):
            method = "exact" if count <= 100 else "asymptotic"
            theirs = stats.wilcoxon(values, alternative=way, method=method).pvalue
            assert signed_rank(values.tolist(), alternative=way) == pytest.approx(theirs)


def test_the_least_p_value_is_that_of_one_sign_throughout() -> None:
    for count in range(1, 12):
        values = [0.1 * (i + 1) for i in range(count)]
        assert signed_rank(values) == pytest.approx(smallest_p(count))
        greater = smallest_p(count, alternative="greater")
        assert signed_rank(values, alternative="greater") == pytest.approx(greater)
    assert smallest_p(0) == 1.0
    assert smallest_p(6) == 2 / 64


def test_zeros_say_nothing() -> None:
    assert signed_rank([]) == signed_rank([0.0, 0.0]) == 1.0
    assert signed_rank([0.1, 0.2, 0.0, -0.3]) == signed_rank([0.1, 0.2, -0.3])
    with pytest.raises(ValueError, match="defined"):
        signed_rank([0.1, math.nan])


def test_holm_by_hand() -> None:
    """0.01 * 4, 0.02 * 3, then 0.03 * 2 = 0.06 and 0.2 * 1: as in Holm's step-down."""
    assert holm([0.2, 0.01, 0.03, 0.02]) == pytest.approx((0.2, 0.04, 0.06, 0.06))
    assert holm([0.5, 0.6]) == (1.0, 1.0)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_helps(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    assert sorted(range(len(p_values)), key=lambda i: (p_values[i], corrected[i])) == sorted(
        range(len(p_values)), key=lambda i: (corrected[i], p_values[i])
    )
    assert min(corrected) == pytest.approx(min(1.0, min(p_values) * len(p_values)))


def test_the_bootstrap_interval_is_scipys_for_one_stratum() -> None:
    values = np.random.default_rng(1).normal(0.02, 0.05, 40)
    own = bootstrap_interval([values.tolist()])
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", random_state=3
    ).confidence_interval
    assert own == pytest.approx((theirs.low, theirs.high), abs=0.002)
    assert own[0] < values.mean() < own[1]


def test_the_sizes_of_strata_are_kept() -> None:
    """Two sites without any spread: only the share of each site could move the mean."""
    assert bootstrap_interval([[0.0] * 3, [1.0] * 9, []]) == (0.75, 0.75)
    assert all(math.isnan(end) for end in bootstrap_interval([[]]))


def test_the_t_interval_is_that_of_scipy_and_shrinks_with_every_stratum() -> None:
    values = np.random.default_rng(3).normal(0.1, 0.2, 9)
    low, high = stats.t.interval(0.95, 8, loc=values.mean(), scale=stats.sem(values))
    half = t_interval([(9, float(values.std(ddof=1)))])
    assert half == pytest.approx((high - low) / 2)
    assert t_interval([(9, 0.2), (9, 0.2)]) < t_interval([(9, 0.2)])
