"""Labels of bricks: no class that could win is left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fednnunet.inference.export import export_logits
from fednnunet.inference.label_map import region_values
from fednnunet.planning.plan import Resampling
from fednnunet.preprocess.resample import resample_logits
from fednnunet.task import Task
from tests.inference.test_native import a_placement


@pytest.mark.parametrize(
    ("regions", "values"),
    [
        ({"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}, (1, 2, 3)),
        ({"whole": (1, 2, 3), "core": (1, 3), "enhancing": (3,)}, (2, 1, 3)),
        ({"left": (1,), "right": (2,)}, (1, 2)),
        ({"core": (2,), "whole": (2, 1)}, (2, 2)),
    ],
)
def test_each_region_writes_the_value_that_no_later_one_owns(
    regions: dict[str, tuple[int, ...]], values: tuple[int, ...]
) -> None:
    labels = ("background", "a", "b", "c")
    task = Task(name="t", channels=("MRI",), labels=labels, regions=regions)
    assert region_values(task) == values


def labels(logits: np.ndarray, native: tuple[int, int, int], task: Task) -> np.ndarray:
    """Labels of the native grid, through bricks."""
    placement = a_placement(logits.shape[1:], native)
    return export_logits(logits, placement, task, Resampling()).mask


def a_task(classes: int, *, regions: bool) -> Task:
    names = ("background", *(f"label{i}" for i in range(1, classes)))
    nested = {f"region{i}": tuple(range(i, classes)) for i in range(1, classes)}
    return Task(name="t", channels=("CT",), labels=names, regions=nested if regions else {})


@settings(max_examples=30, deadline=None)
@given(
    prepared=st.tuples(st.integers(1, 12), st.integers(1, 30), st.integers(1, 50)),
    native=st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 140)),
    classes=st.integers(2, 5),
    regions=st.booleans(),
    seed=st.integers(0, 9),
)
def test_bricks_give_the_labels_of_all_classes(prepared, native, classes, regions, seed):
    """Smooth logits, so that one class wins in whole bricks; and plateaus of equal ones."""
    task, rng = a_task(classes, regions=regions), np.random.default_rng(seed)
    logits = ndimage.gaussian_filter(rng.normal(0, 9, (task.heads, *prepared)), (0, 2, 4, 6))
    logits = np.round(logits * (4 if seed % 2 else 1e4)).astype(np.float32)
    placement = a_placement(prepared, native)
    spacings = placement.target_mm, placement.spacing_mm
    values = resample_logits(logits, *spacings, native).astype(np.float64)
    found = labels(logits, native, task)
    if regions:
        expected = np.zeros(native, int)
        for value, channel in zip(region_values(task), values, strict=True):
            expected[channel > 0] = value
        unsure = (np.abs(values) < 1e-3).any(axis=0)
    else:
        expected = values.argmax(axis=0)
        two = np.sort(values, axis=0)[-2:]
        unsure = two[1] - two[0] < 1e-3 * (1 + np.abs(two[1]))
    assert np.array_equal(found[~unsure], expected[~unsure])


def test_of_equal_classes_the_lower_one_wins_in_every_brick() -> None:
    logits = np.zeros((4, 3, 40, 70), np.float32)
    logits[2, :, 20:] = logits[3, :, 20:] = 5
    logits[1, :, :, 66:] = -1
    found = labels(logits, (3, 40, 70), a_task(4, regions=False))
    assert not found[:, :20].any() and (found[:, 20:] == 2).all()


def test_a_class_that_is_second_everywhere_may_win_in_between() -> None:
    """Two neighbours of which each has another winner; half way, the third is highest."""
    logits = np.array([[10, 0], [0, 10], [9, 9]], np.float32).reshape(3, 1, 1, 2)
    found = labels(logits, (1, 1, 5), a_task(3, regions=False))
    assert found.ravel().tolist() == [0, 0, 2, 1, 1]
