from __future__ import annotations

import pytest
import torch

from fednnunet.labels.known import certain_labels, has_unknown, possible_labels
from fednnunet.supervision import UNKNOWN, Supervision
from tests.training.fakes import small_task

TASK = small_task(ignore=9)


def possible(values, **supervision):
    """The sets of possible labels of a row of voxels."""
    labels = torch.tensor(values, dtype=torch.int16).reshape(1, 1, 1, -1)
    found = possible_labels(labels, Supervision(**supervision), TASK)[0, :, 0, 0]
    return [set(torch.nonzero(voxel).flatten().tolist()) for voxel in found.T]


def test_without_a_map_everything_is_possible_but_outside_of_the_volume():
    assert possible([UNKNOWN, -1], kind="none") == [{0, 1, 2}, {0}]


def test_an_absent_class_is_impossible():
    found = possible([UNKNOWN, -1], kind="image", present=(1,), absent=(2,))
    assert found == [{0, 1}, {0}]


def test_background_of_a_partial_map_may_be_what_was_not_looked_for():
    found = possible([0, 1, -1, 9], kind="partial", annotated=(1,))
    assert found == [{0, 2}, {1}, {0}, set()]


@pytest.mark.parametrize("kind", ["scribble", "point", "pseudo"])
def test_a_mark_is_known_and_the_rest_is_free(kind):
    assert possible([0, 1, 2, UNKNOWN], kind=kind) == [{0}, {1}, {2}, {0, 1, 2}]
    only = possible([0, 1, UNKNOWN], kind=kind, annotated=(1,))
    assert only == [{0, 2}, {1}, {0, 1, 2}]


def test_a_class_is_possible_inside_of_its_boxes_only():
    assert possible([0, 1, 2, 3, -1], kind="box") == [{0}, {0, 1}, {0, 2}, {0, 1, 2}, {0}]
    assert possible([0, 1], kind="box", annotated=(1,)) == [{0, 2}, {0, 1, 2}]


def test_a_full_map_knows_everything():
    assert possible([0, 2, -1, 9], kind="full") == [{0}, {2}, {0}, set()]


def test_certain_labels_are_those_with_one_possibility():
    labels = torch.tensor([0, 1, -1, 9], dtype=torch.int16).reshape(1, 1, 1, -1)
    found = possible_labels(labels, Supervision(kind="partial", annotated=(1,)), TASK)
    assert certain_labels(found).flatten().tolist() == [UNKNOWN, 1, 0, UNKNOWN]


@pytest.mark.parametrize(
    ("supervision", "expected"),
    [
        (Supervision(), False),
        (Supervision(kind="partial", annotated=(1, 2)), False),
        (Supervision(kind="partial", annotated=(2,)), True),
        (Supervision(kind="box"), True),
        (Supervision(kind="none"), True),
    ],
)
def test_which_labels_leave_something_unknown(supervision, expected):
    assert has_unknown(supervision, TASK) is expected
