"""Lesions are matched one to one by IoU."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fednnunet.evaluation.lesions import LesionCounts, match_lesions


def boxes(*places: tuple[int, int]) -> np.ndarray:
    """Boxes from x to x: 4 x 4 voxels across."""
    mask = np.zeros((6, 6, 60), bool)
    for low, high in places:
        mask[1:5, 1:5, low:high] = True
    return mask


def test_found_missed_and_invented_lesions_are_counted() -> None:
    reference = boxes((0, 10), (20, 24), (40, 50))
    predicted = boxes((0, 9), (30, 34), (45, 55))
    found = match_lesions(predicted, reference)
    assert found == LesionCounts(reference=3, predicted=3, matched=1, iou_sum=pytest.approx(0.9))
    assert found.sensitivity == found.precision == found.f1 == pytest.approx(1 / 3)
    assert found.panoptic_quality == pytest.approx(0.9 / 3)
    lower = match_lesions(predicted, reference, above_iou=0.2)
    assert (lower.matched, lower.iou_sum) == (2, pytest.approx(0.9 + 5 / 15))


def test_one_prediction_over_two_lesions_matches_the_better_one() -> None:
    reference, predicted = boxes((0, 10), (12, 16)), boxes((0, 16))
    found = match_lesions(predicted, reference, above_iou=0.1)
    assert (found.reference, found.predicted, found.matched) == (2, 1, 1)
    assert found.iou_sum == pytest.approx(10 / 16)


def test_voxels_that_touch_by_a_corner_are_one_lesion() -> None:
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert match_lesions(mask, mask).reference == 1


def test_without_lesions_shares_are_not_defined() -> None:
    empty, one = boxes(), boxes((3, 6))
    none = match_lesions(empty, empty)
    assert none == LesionCounts()
    assert all(math.isnan(v) for v in (none.sensitivity, none.precision, none.f1, none.mean_iou))
    assert match_lesions(empty, one).sensitivity == 0.0
    assert math.isnan(match_lesions(one, empty).sensitivity)
    assert match_lesions(one, empty).precision == 0.0


def test_counts_of_cases_add_up() -> None:
    one = LesionCounts(reference=2, predicted=3, matched=1, iou_sum=0.75)
    both = one + LesionCounts(reference=1, predicted=0)
    assert both == LesionCounts(reference=3, predicted=3, matched=1, iou_sum=0.75)
    assert both + LesionCounts() == both
