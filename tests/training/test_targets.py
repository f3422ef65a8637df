"""A supervision as groups of labels."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.supervision import UNKNOWN, Supervision
from fednnunet.training.targets import make_targets
from tests.training.fakes import small_task


def partial(*annotated):
    return Supervision(kind="partial", annotated=annotated)


def test_what_a_site_annotates_must_be_of_the_task():
    with pytest.raises(InputError, match="annotate the values"):
        make_targets(small_task(), partial(0))
    with pytest.raises(InputError, match="annotate the values"):
        make_targets(small_task(), partial(7))


def test_what_is_not_annotated_is_in_the_backgrounds_group():
    targets = make_targets(small_task(), partial(2))
    assert targets.groups == targets.outputs == ((0, 1), (2,))
    assert (targets.scored, targets.names, targets.regions) == ((1,), ("outer", "inner"), False)
    full = make_targets(small_task())
    assert (full.groups, full.scored) == (((0,), (1,), (2,)), (0, 1))


def test_regions_of_which_a_part_is_not_annotated_are_left_out():
    task = small_task(regions={"whole": (1, 2), "core": (2,)})
    targets = make_targets(task, partial(2))
    assert (targets.groups, targets.outputs, targets.scored) == (((2,),), ((1,),), (1,))
    assert targets.names == ("whole", "core")


def test_labels_by_hand():
    labels = torch.tensor([[-1, 0, 1, 2, 3]])
    targets = make_targets(small_task(ignore=3), partial(2))
    assert targets.classes(labels).tolist() == [[0, 0, 0, 1, 0]]
    assert targets.indicators(labels).int().tolist() == [[[0, 1, 1, 0, 0], [0, 0, 0, 1, 0]]]
    valid = targets.valid(labels)
    assert valid is not None and valid.tolist() == [[True, True, True, True, False]]
    assert make_targets(small_task()).valid(labels) is None


def test_unknown_voxels_of_scribbles_and_ignored_ones_do_not_count():
    labels = torch.tensor([[UNKNOWN, -1, 0, 2, 3]])
    valid = make_targets(small_task(ignore=3), Supervision(kind="scribble")).valid(labels)
    assert valid is not None and valid.tolist() == [[False, True, True, True, False]]
    valid = make_targets(small_task(), Supervision(kind="point")).valid(labels)
    assert valid is not None and valid.tolist() == [[False, True, True, True, True]]


@pytest.mark.parametrize("regions", [{}, {"whole": (1, 2)}])
@pytest.mark.parametrize("kind", ["box", "none"])
def test_of_cases_without_drawn_classes_no_voxel_counts(kind, regions):
    labels = torch.tensor([[UNKNOWN, -1, 0, 3]])
    targets = make_targets(small_task(regions=regions), Supervision(kind=kind))
    valid = targets.valid(labels)
    assert valid is not None and not valid.any()
    assert targets.scored == () and targets.indicators(labels).shape[1] == len(targets.groups)


def test_voxels_without_a_label_are_still_of_the_task():
    labels = torch.tensor([[UNKNOWN, -1, 0, 2, 3]])
    scribble = Supervision(kind="scribble")
    of_the_task = make_targets(small_task(ignore=3), scribble).of_the_task(labels)
    assert of_the_task is not None and of_the_task.tolist() == [[True, True, True, True, False]]
    assert make_targets(small_task(), scribble).of_the_task(labels) is None
    boxes = make_targets(small_task(ignore=3), Supervision(kind="box"))
    assert boxes.of_the_task(labels) is None  # there 3 means two boxes
