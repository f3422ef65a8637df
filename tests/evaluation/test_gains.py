"""Differences to training alone, as figures of all cases together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fednnunet.errors import ReplyError
from fednnunet.evaluation.gains import Gain, mean_gain

DIFFERENCES = np.random.default_rng(0).normal(0.03, 0.05, 12).round(6).tolist()


def a_gain(**changes: float | None) -> Gain:
    values: dict = {"cases": 10, "mean": 0.1, "better": 8, "worse": 1, "std": 0.2}
    return Gain(**{**values, **changes})


def test_the_figures_are_those_of_the_cases() -> None:
    found = Gain.of(DIFFERENCES, squared=10)
    assert (found.cases, found.mean) == (12, pytest.approx(np.mean(DIFFERENCES), abs=1e-6))
    assert found.std == pytest.approx(np.std(DIFFERENCES, ddof=1), abs=1e-6)
    assert found.better == sum(d > 0 for d in DIFFERENCES)
    assert found.worse == sum(d < 0 for d in DIFFERENCES)
    assert found.interval is not None
    low, high = stats.t.interval(0.95, 11, loc=np.mean(DIFFERENCES), scale=stats.sem(DIFFERENCES))
    assert found.interval == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))


def test_with_few_cases_nothing_tells_their_squares() -> None:
    found = Gain.of(DIFFERENCES[:9], squared=10)
    assert found.std is None and found.interval is None
    assert Gain.of([0.5], squared=1).std is None
    assert mean_gain([found, Gain.of([0.5], squared=1)]) is None


def test_the_mean_over_sites_counts_cases_and_takes_sites_as_they_are() -> None:
    one, two = Gain.of(DIFFERENCES, squared=10), Gain.of([0.2, 0.21] * 10, squared=10)
    few = Gain.of([-0.9], squared=10)
    found = mean_gain([one, two, few])
    assert found is not None
    assert (found.cases, found.sites) == (32, 2)
    assert found.mean == pytest.approx((12 * one.mean + 20 * two.mean) / 32)
    assert found.low < found.mean < found.high
    pooled = Gain.of([*DIFFERENCES, *[0.2, 0.21] * 10], squared=10).interval
    assert pooled is not None  # the sites differ, which widens the interval over all cases
    assert found.high - found.low < pooled[1] - pooled[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"cases": 0, "better": 0, "worse": 0},
        {"mean": 1.5},
        {"mean": float("nan")},
        {"better": 10, "worse": 1},
        {"better": 0, "worse": 0},
        {"mean": -0.2, "worse": 1},
        {"mean": 0.9, "std": 0.9},
        {"std": -0.1},
        {"std": 3.0},
    ],
    ids=str,
)
def test_figures_that_no_cases_have_are_refused(changes: dict) -> None:
    a_gain()
    with pytest.raises(ReplyError):
        a_gain(**changes)
