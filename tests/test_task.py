"""Channels and labels of a task."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.task import MAX_CHANNELS, MAX_LABELS, Task
from tests.training.fakes import small_task


def test_labels_are_the_targets_or_regions_are():
    task = small_task()
    assert (task.targets, task.heads, task.values) == (("outer", "inner"), 3, (0, 1, 2))
    regions = small_task(regions={"whole": (1, 2)}, ignore=5)
    assert (regions.targets, regions.heads, regions.values) == (("whole",), 1, (0, 1, 2, 5))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"channels": ()}, "at least one channel"),
        ({"channels": ("a", "a")}, "a channel name occurs twice"),
        ({"labels": ("background",)}, "at least one more label"),
        ({"labels": ("a", "b", "b")}, "a label name occurs twice"),
        ({"regions": {"r": ()}}, "region 'r'"),
        ({"regions": {"r": (0, 1)}}, "region 'r'"),
        ({"regions": {"r": (3,)}}, "region 'r'"),
        ({"ignore": 2}, "the ignore value 2 is also a label"),
        ({"ignore": 2**15}, "too large"),
        ({"channels": tuple(map(str, range(MAX_CHANNELS + 1)))}, "65 channels"),
        ({"labels": tuple(map(str, range(MAX_LABELS + 1)))}, "1025 labels"),
        ({"name": "x" * 257}, "257 characters"),
    ],
)
def test_a_task_that_cannot_be_is_refused(fields, words):
    with pytest.raises(InputError, match=words):
        small_task(**fields)


def test_bounds_themselves_are_allowed():
    labels = tuple(map(str, range(MAX_LABELS)))
    task = Task(name="x" * 256, channels=("MRI",), labels=labels, ignore=2**15 - 1)
    assert task.heads == MAX_LABELS
