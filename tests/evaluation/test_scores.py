"""Scores of sites are sums: they merge in any order and survive the way as a vector."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednnunet.errors import ReplyError
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums

TARGETS = ("organ", "nodule")


def _score(dice: float, hd95: float = 2.0, *, absent_target: bool = False) -> TargetScore:
    return TargetScore(
        dice=dice,
        iou=dice / 2,
        hd95_mm=math.nan if absent_target else hd95,
        assd_mm=math.nan if absent_target else hd95 / 3,
        reference_vox=10,
        predicted_vox=0 if absent_target else 10,
    )


def _case(number: int, *dice: float) -> CaseScores:
    targets = {name: _score(value) for name, value in zip(TARGETS, dice, strict=True)}
    return CaseScores(case=f"case_{number}", targets=targets)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12),
    st.integers(0, 99),
)
def test_sums_do_not_depend_on_order_or_partition(
    values: list[tuple[float, float]], seed: int
) -> None:
    cases = [_case(i, *pair) for i, pair in enumerate(values)]
    whole = SiteScores.of(TARGETS, cases)
    rng = random.Random(seed)
    rng.shuffle(cases)
    cut = rng.randint(0, len(cases))
    parts = SiteScores.of(TARGETS, cases[cut:]) + SiteScores.of(TARGETS, cases[:cut])
    assert parts == whole
    assert whole + SiteScores.empty(TARGETS) == whole


def test_mean_and_std_are_those_of_the_cases() -> None:
    dice = [0.5, 0.7, 0.95]
    sums = SiteScores.of(TARGETS, [_case(i, value, 0.2) for i, value in enumerate(dice)])
    assert sums.cases == 3
    assert sums.mean("dice", "organ") == pytest.approx(np.mean(dice))
    assert sums.targets["organ"].dice.std == pytest.approx(np.std(dice, ddof=1), abs=1e-6)
    assert sums.mean("dice") == pytest.approx((np.mean(dice) + 0.2) / 2)


def test_undefined_values_do_not_count_and_misses_do() -> None:
    scores = {"organ": _score(0.8), "nodule": _score(0.0, absent_target=True)}
    absent = {"organ": _score(0.6), "nodule": _score(math.nan, absent_target=True)}
    cases = [CaseScores(case="a", targets=scores), CaseScores(case="b", targets=absent)]
    sums = SiteScores.of(TARGETS, cases)
    assert sums.targets["nodule"].dice == MetricSum(count=1, total=0.0, squares=0.0)
    assert math.isnan(sums.mean("hd95_mm", "nodule"))
    assert sums.targets["nodule"].false_negatives == 2
    assert sums.mean("hd95_mm") == pytest.approx(2.0)


def test_scores_of_other_targets_do_not_add() -> None:
    with pytest.raises(ReplyError, match="cannot be added"):
        SiteScores.empty(TARGETS) + SiteScores.empty(("liver",))


def test_sums_over_fewer_cases_than_a_limit_are_not_told() -> None:
    both = MetricSum(count=2, total=1.5, squares=1.2)
    one = MetricSum(count=1, total=3.0, squares=9.0)
    whole = SiteScores(
        cases=2, targets={"a": TargetSums(dice=both, hd95_mm=one, false_negatives=1)}
    )
    told = whole.of_at_least(2)
    assert told.cases == 2
    assert told.targets["a"] == TargetSums(dice=both, false_negatives=1)
    assert whole.of_at_least(3) == SiteScores.empty(("a",))
    assert whole.of_at_least(1) == whole


def test_of_few_cases_the_squares_stay_behind() -> None:
    """With two values, their sum and the sum of their squares give both."""
    both = MetricSum(count=2, total=1.5, squares=1.25)
    whole = SiteScores(cases=2, targets={"a": TargetSums(dice=both)})
    shared = whole.of_at_least(1, squared=3).targets["a"].dice
    assert (shared.count, shared.total, shared.squares) == (2, 1.5, None)
    assert math.isnan(shared.std) and shared.mean == 0.75
    assert (shared + both).squares is None and (shared + both).count == 4
    assert whole.of_at_least(1, squared=2) == whole
