"""Presence per case: counted by hand, and the ROC against all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fednnunet.evaluation.image_level import image_level, presence_of_targets, score_presence
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ", "nodule"))


def test_shares_are_those_of_a_table_of_four() -> None:
    truth = [True] * 4 + [False] * 6
    said = [True, True, True, False, True, False, False, False, False, False]
    found = score_presence(truth, said, [float(s) for s in said])
    assert (found.present, found.absent) == (4, 6)
    assert found.accuracy == pytest.approx(0.8)
    assert found.balanced_accuracy == pytest.approx((3 / 4 + 5 / 6) / 2)
    assert found.f1 == pytest.approx(6 / 8)


def test_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(1)
    truth, score = rng.random(30) < 0.4, np.round(rng.random(30), 1)
    pairs = [(a > b) + 0.5 * (a == b) for a in score[truth] for b in score[~truth]]
    found = score_presence(list(truth), list(score > 0.5), list(score))
    assert found.auc == pytest.approx(float(np.mean(pairs)))


def test_with_one_kind_of_case_auc_is_not_defined() -> None:
    found = score_presence([True, True], [True, False], [1.0, 0.0])
    assert found.accuracy == 0.5
    assert math.isnan(found.auc) and math.isnan(found.balanced_accuracy)


def test_only_targets_of_known_presence_are_scored() -> None:
    score = TargetScore(
        dice=1, iou=1, hd95_mm=0, assd_mm=0, reference_vox=4, predicted_vox=4, predicted_ml=0.1
    )
    cases = [CaseScores(case=n, targets={"organ": score, "nodule": score}) for n in ("a", "b")]
    found = image_level(TASK, cases, {"a": {"organ": True}, "c": {"nodule": True}})
    assert found.keys() == {"organ"}
    assert (found["organ"].present, found["organ"].accuracy) == (1, 1.0)


def test_a_region_is_there_if_one_of_its_values_is() -> None:
    regions = {"whole": (1, 2), "core": (2,)}
    task = Task(name="t", channels=("MRI",), labels=TASK.labels, regions=regions)
    assert presence_of_targets(task, {1: True}) == {"whole": True}
    assert presence_of_targets(task, {1: False}) == {}
    assert presence_of_targets(task, {1: False, 2: False}) == {"whole": False, "core": False}
