"""Overlap and surface metrics against hand-worked cases and a brute-force reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from fednnunet.errors import DataError
from fednnunet.evaluation.metrics import score_mask, score_target, surface_distances_mm
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ", "nodule"))
SPACING = (3.0, 0.7, 1.1)


def _blobs(seed: int, shape: tuple[int, int, int] = (9, 14, 12)) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return noise > np.quantile(noise, 0.8)


def _surface_points(mask: np.ndarray) -> list[np.ndarray]:
    """Every voxel of the mask with a face neighbour outside it, found one by one."""
    points = []
    for index in np.argwhere(mask):
        for axis in range(3):
            for side in (-1, 1):
                other = index.copy()
                other[axis] += side
                beyond = not 0 <= other[axis] < mask.shape[axis]
                if beyond or not mask[tuple(other)]:
                    points.append(index * np.asarray(SPACING))
                    break
            else:
                continue
            break
    return points


def _brute_force(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    a, b = np.stack(_surface_points(first)), np.stack(_surface_points(second))
    distances = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return np.concatenate([distances.min(axis=1), distances.min(axis=0)])


@pytest.mark.parametrize("seed", range(6))
def test_surface_distances_equal_brute_force(seed: int) -> None:
    first, second = _blobs(seed), _blobs(seed + 100)
    expected = np.sort(_brute_force(first, second))
    np.testing.assert_allclose(np.sort(surface_distances_mm(first, second, SPACING)), expected)
    score = score_target(first, second, SPACING)
    assert score.hd95_mm == pytest.approx(np.percentile(expected, 95))
    assert score.assd_mm == pytest.approx(expected.mean())


def test_a_shift_of_a_box_is_measured_in_mm() -> None:
    reference = np.zeros((12, 12, 12), bool)
    reference[2:6, 3:9, 3:9] = True
    predicted = np.roll(reference, 2, axis=0)
    score = score_target(predicted, reference, SPACING)
    assert score.dice == pytest.approx(0.5)
    assert score.iou == pytest.approx(1 / 3)
    assert score.hd95_mm == pytest.approx(6.0)


def test_equal_masks_have_dice_1_and_distance_0_even_at_the_border() -> None:
    mask = np.zeros((4, 5, 6), bool)
    mask[:2, :, 3:] = True
    score = score_target(mask, mask, SPACING)
    assert (score.dice, score.iou, score.hd95_mm, score.assd_mm) == (1.0, 1.0, 0.0, 0.0)


def test_overlap_equals_counting() -> None:
    first, second = _blobs(1), _blobs(2)
    score = score_target(first, second, SPACING)
    both, either = (first & second).sum(), (first | second).sum()
    assert score.iou == pytest.approx(both / either)
    assert score.dice == pytest.approx(2 * both / (first.sum() + second.sum()))
    assert (score.predicted_vox, score.reference_vox) == (first.sum(), second.sum())


def test_empty_masks_follow_nnunet() -> None:
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    both = score_target(empty, empty, SPACING)
    assert math.isnan(both.dice)
    assert math.isnan(both.iou)
    assert not both.is_false_negative
    assert not both.is_false_positive
    only_reference, only_prediction = (
        score_target(empty, full, SPACING),
        score_target(full, empty, SPACING),
    )
    assert only_reference.dice == only_reference.iou == only_prediction.dice == 0.0
    assert math.isnan(only_reference.hd95_mm)
    assert math.isnan(only_prediction.assd_mm)
    assert (only_reference.is_false_negative, only_reference.is_false_positive) == (True, False)
    assert (only_prediction.is_false_negative, only_prediction.is_false_positive) == (False, True)


def test_ignored_voxels_do_not_count() -> None:
    task = Task(name="t", channels=("MRI",), labels=("background", "organ"), ignore=9)
    reference = np.zeros((4, 6, 6), np.int16)
    reference[1:3, 1:3, 1:3] = 1
    reference[:, 4:] = 9
    predicted = np.where(reference == 9, 1, reference)
    assert score_mask(predicted, reference, SPACING, task).targets["organ"].dice == 1.0


def test_regions_unite_labels() -> None:
    regions = {"whole": (1, 2), "core": (2,)}
    task = Task(name="t", channels=("MRI",), labels=TASK.labels, regions=regions)
    reference = np.zeros((4, 6, 6), np.int16)
    reference[1:3, 1:5, 1:5] = 1
    reference[1:3, 2:4, 2:4] = 2
    swapped = np.where(reference > 0, 1, 0)
    scores = score_mask(swapped, reference, SPACING, task)
    assert scores.targets["whole"].dice == 1.0
    assert scores.targets["core"].is_false_negative
    assert scores.dice == 0.5


def test_masks_of_different_shape_are_refused() -> None:
    with pytest.raises(DataError, match="shape"):
        score_mask(np.zeros((3, 3, 3), int), np.zeros((3, 3, 4), int), SPACING, TASK)
