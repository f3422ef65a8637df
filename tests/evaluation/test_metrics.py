"""Overlap and surface metrics against hand-worked cases and a brute-force reference."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fednnunet.errors import DataError, InputError
from fednnunet.evaluation.metrics import MetricSettings, score_mask, score_target
from fednnunet.evaluation.surfaces import surface_distances
from fednnunet.task import Task
from tests.evaluation.blobs import SPACING, blobs

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ", "nodule"))


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
    first, second = blobs(seed), blobs(seed + 100)
    expected = np.sort(_brute_force(first, second))
    found = surface_distances(first, second, SPACING)
    np.testing.assert_allclose(np.sort(found.both), expected)
    score = score_target(first, second, SPACING)
    assert score.hd95_mm == pytest.approx(np.percentile(expected, 95))
    assert score.assd_mm == pytest.approx(expected.mean())
    assert score.hd_mm == pytest.approx(expected.max())
    assert score.nsd == pytest.approx((expected <= 2.0).mean())


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
    first, second = blobs(1), blobs(2)
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
    assert math.isnan(both.nsd) and math.isnan(both.volume_difference_ml)
    assert only_reference.nsd == only_prediction.nsd == 0.0
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


def test_each_target_is_scored_in_its_own_box() -> None:
    """Boxes, ignored voxels and regions give what whole volumes would."""
    rng = np.random.default_rng(3)
    reference, predicted = (rng.integers(0, 3, (6, 8, 9)).astype(np.int16) for _ in range(2))
    reference[:, :2] = 0
    predicted[4:] = 0
    reference[0, 5:] = 9
    task = Task(name="t", channels=("MRI",), labels=TASK.labels, ignore=9)
    scores = score_mask(predicted, reference, SPACING, task)
    for value, name in ((1, "organ"), (2, "nodule")):
        kept = reference != 9
        whole = score_target((predicted == value) & kept, (reference == value) & kept, SPACING)
        assert scores.targets[name] == whole


def test_volumes_are_in_ml() -> None:
    reference = np.zeros((5, 20, 20), bool)
    reference[:, :10] = True  # 1000 voxels
    predicted = reference.copy()
    predicted[0] = False
    score = score_target(predicted, reference, (2.0, 0.5, 1.0))
    assert score.reference_ml == pytest.approx(1.0)
    assert score.predicted_ml == pytest.approx(0.8)
    assert score.volume_difference_ml == pytest.approx(-0.2)


def test_the_tolerance_of_a_target_overrules_the_usual_one() -> None:
    reference = np.zeros((3, 12, 12), np.int16)
    reference[1, 2:5, 2:9] = 1
    reference[1, 7:10, 2:9] = 2
    settings = MetricSettings(tolerance_mm=0.0, tolerances_mm={"nodule": 1.5})
    shifted = np.roll(reference, 1, axis=2)
    scores = score_mask(shifted, reference, (1.0, 1.0, 1.0), TASK, settings=settings)
    assert scores.targets["organ"].nsd < scores.targets["nodule"].nsd == 1.0


@pytest.mark.parametrize(
    "settings", [{"tolerance_mm": -1.0}, {"tolerances_mm": {"a": math.inf}}, {"lesion_iou": 1.0}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InputError):
        MetricSettings(**settings)  # type: ignore[arg-type]
