"""Means, medians and bootstrap intervals over patients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fednnunet.evaluation import spread
from fednnunet.evaluation.lesions import LesionCounts
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.paired import bootstrap_interval
from fednnunet.evaluation.spread import mean_interval, statistics_of
from tests.evaluation.made_up import a_case


def test_each_site_and_all_cases_are_described() -> None:
    cases = {"a": [a_case(f"a{i}", v) for i, v in enumerate((0.2, 0.4, 0.9))]}
    cases["b"] = [a_case("b0", 0.5)]
    found = statistics_of(("organ",), cases)
    dice = found.sites["a"].targets["organ"].metrics["dice"]
    assert (dice.cases, dice.mean, dice.median) == (3, pytest.approx(0.5), 0.4)
    assert dice.std == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))
    assert 0.2 <= dice.low < 0.5 < dice.high <= 0.9
    one = found.sites["b"].targets["organ"].metrics["dice"]
    assert one.mean == 0.5 and math.isnan(one.std) and math.isnan(one.low)
    assert found.all_cases.cases == found.all_cases.patients == 4
    assert found.all_cases.targets["organ"].metrics["dice"].mean == pytest.approx(0.5)


def test_the_interval_is_that_of_single_cases_where_each_is_a_patient() -> None:
    rng = np.random.default_rng(0)
    strata = [rng.random(9), rng.random(4)]
    low, high = mean_interval([(s[:, None], [f"p{i}" for i in range(len(s))]) for s in strata])
    expected = bootstrap_interval([list(s) for s in strata])
    assert (low[0], high[0]) == pytest.approx(expected)


def test_resamples_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random((7, 2))
    strata = [(values, [f"p{i}" for i in range(7)])]
    whole = mean_interval(strata)
    monkeypatch.setattr(spread, "_BLOCK", 7 * 1500)
    np.testing.assert_allclose(mean_interval(strata), whole)


def test_cases_of_one_patient_stay_together() -> None:
    values = np.array([0.1] * 10 + [0.9] * 10)[:, None]
    of_two = mean_interval([(values, ["p"] * 10 + ["q"] * 10)])
    assert (of_two[0][0], of_two[1][0]) == pytest.approx((0.1, 0.9))
    of_twenty = mean_interval([(values, [f"p{i}" for i in range(20)])])
    assert of_twenty[1][0] - of_twenty[0][0] < 0.5
    alone = mean_interval([(values, ["p"] * 20)])
    assert math.isnan(alone[0][0])


def test_values_that_are_not_defined_are_left_out() -> None:
    empty = TargetScore(
        dice=math.nan, iou=math.nan, hd95_mm=math.nan, assd_mm=math.nan,
        reference_vox=0, predicted_vox=0,
    )  # fmt: skip
    cases = {"a": [a_case("x", 0.5), CaseScores(case="y", targets={"organ": empty})]}
    dice = statistics_of(("organ",), cases).all_cases.targets["organ"].metrics["dice"]
    assert (dice.cases, dice.mean) == (1, 0.5)
    none = statistics_of(("organ",), {"a": []}).all_cases
    assert none.cases == 0 and none.targets["organ"].metrics == {}


def test_false_cases_and_lesions_are_summed() -> None:
    score = TargetScore(
        dice=0, iou=0, hd95_mm=math.nan, assd_mm=math.nan, reference_vox=3, predicted_vox=0,
        lesions=LesionCounts(reference=2, predicted=1, matched=1, iou_sum=0.5),
    )  # fmt: skip
    cases = {"a": [CaseScores(case=name, targets={"organ": score}) for name in "xyz"]}
    found = statistics_of(("organ",), cases, {"a": {"x": "p", "y": "p"}}).all_cases
    assert (found.cases, found.patients) == (3, 2)
    target = found.targets["organ"]
    assert target.false_negatives == 3
    assert target.lesions == LesionCounts(reference=6, predicted=3, matched=3, iou_sum=1.5)
