"""Components that are kept and removed, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.evaluation.postprocess import (
    TRIED,
    Postprocessing,
    TargetRule,
    for_every_target,
    is_tried,
)
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ", "nodule"))
REGIONS = Task(
    name="t",
    channels=("MRI",),
    labels=("background", "edema", "core"),
    regions={"whole": (1, 2), "core": (2,)},
)
SPACING = (2.0, 1.0, 1.0)


def a_mask() -> np.ndarray:
    """An organ of 27 voxels that touches a nodule, one of 8 apart, and a nodule of 1 apart."""
    mask = np.zeros((12, 12, 12), np.uint8)
    mask[1:4, 1:4, 1:4] = 1
    mask[4, 4, 4:6] = 2  # touches a corner
    mask[8:10, 8:10, 8:10] = 1
    mask[6, 1, 10] = 2
    return mask


def counts(rule: Postprocessing, task: Task = TASK) -> list[int]:
    return np.bincount(rule.apply(a_mask(), SPACING, task).ravel(), minlength=3)[1:].tolist()


def test_nothing_is_removed_without_a_rule() -> None:
    mask = a_mask()
    assert not Postprocessing() and Postprocessing().apply(mask, SPACING, TASK) is mask
    assert counts(for_every_target(TASK, TargetRule(), foreground=False)) == [35, 3]


def test_the_largest_component_of_each_target_is_kept() -> None:
    assert counts(Postprocessing(targets={"organ": TargetRule(largest=True)})) == [27, 3]
    assert counts(for_every_target(TASK, TargetRule(largest=True), foreground=False)) == [27, 2]


def test_the_foreground_is_one_target_of_its_own() -> None:
    assert counts(Postprocessing(foreground=True)) == [27, 2]


@pytest.mark.parametrize(("size", "left"), [(2, [35, 3]), (3, [35, 2]), (17, [27, 0])])
def test_small_components_are_removed_by_their_volume(size: float, left: list[int]) -> None:
    assert counts(for_every_target(TASK, TargetRule(min_mm3=size), foreground=False)) == left


def test_regions_are_judged_as_a_whole() -> None:
    rule = Postprocessing(targets={"whole": TargetRule(largest=True)})
    assert counts(rule, REGIONS) == [27, 2]


def test_a_mask_is_left_as_it_is() -> None:
    mask = a_mask()
    Postprocessing(foreground=True).apply(mask, SPACING, TASK)
    assert np.array_equal(mask, a_mask())


def test_only_what_is_tried_may_be_asked_for() -> None:
    assert all(is_tried(for_every_target(TASK, rule, foreground=True), TASK) for rule in TRIED)
    for wrong in ({"organ": TargetRule(min_mm3=11.0)}, {"spleen": TargetRule(largest=True)}):
        assert not is_tried(Postprocessing(targets=wrong), TASK)
    with pytest.raises(InputError, match="1 targets"):
        Postprocessing(targets={"spleen": TargetRule()}).check(TASK)
    with pytest.raises(InputError):
        TargetRule(min_mm3=-1.0)


def test_a_rule_is_a_record_and_has_words() -> None:
    rule = Postprocessing(foreground=True, targets={"organ": TargetRule(min_mm3=100.0)})
    assert records.decode(Postprocessing, records.encode(rule), source="here") == rule
    assert rule.words(TASK) == [
        "of all foreground together: only the largest component",
        "organ: only components of at least 100 mm3",
        "nodule: everything",
    ]
