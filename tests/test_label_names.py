"""Labels of a site are compared with the task's, and read through an explicit mapping."""

from __future__ import annotations

import numpy as np
import pytest

from fednnunet.errors import InputError
from fednnunet.label_names import ValueMap, check_targets, compare_labels
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "anterior", "posterior"))
BRATS = Task(
    name="b",
    channels=("MRI",),
    labels=("background", "edema", "core", "enhancing"),
    regions={"whole": (1, 2, 3), "inner": (2, 3)},
)
SAME = {"background": (0,), "anterior": (1,), "posterior": (2,)}


def faults_of(labels, task=TASK, names=None, site="oslo"):
    return compare_labels(labels, task, names or {}, site=site)[1]


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ({}, TASK),
        (SAME, TASK),
        ({"Background": (0,), "ANTERIOR": (1,), "Posterior": (2,)}, TASK),
        ({"air": (0,), "anterior": (1,)}, TASK),
        ({"background": (0,), "whole": (1, 2, 3), "inner": (2, 3), "enhancing": (3,)}, BRATS),
        ({"background": (0,), "any": (1, 2)}, TASK),
    ],
)
def test_labels_that_agree_are_read_as_they_are(labels, task):
    values, faults = compare_labels(labels, task, {})
    assert (values, faults) == (ValueMap(), ())


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"posterior": (1,), "anterior": (2,)}, ("'posterior' has the value 1", "2 in the task")),
        (
            {"GTV": (1,), "posterior": (2,)},
            ("label 1 is 'GTV'", "'anterior'", '{GTV = "anterior"}'),
        ),
        ({"my GTV": (1,)}, ('{"my GTV" = "anterior"}', "sites.oslo.label_names")),
        ({**SAME, "posteriour": (3,)}, ("'posteriour' with the value 3", "did you mean")),
        ({"anterior": (0,)}, ("'anterior' has the value 0",)),
        ({"any": (1, 7)}, ("label values [7]",)),
    ],
)
def test_a_swap_a_rename_and_an_extra_name_are_faults_with_both_spellings(labels, words):
    said = " ".join(f"{fault.what} {fault.mend}" for fault in faults_of(labels))
    assert all(word in said for word in words)


def test_regions_with_other_values_are_a_fault():
    assert "'whole' of the values [1, 2]" in faults_of({"whole": (1, 2)}, BRATS)[0].what


@pytest.mark.parametrize("task", [TASK, BRATS])
def test_a_label_without_any_value_is_a_fault(task):
    (fault,) = faults_of({"background": (0,), "anterior": ()}, task)
    assert "'anterior' an empty list" in fault.what


def test_a_mapping_by_name_follows_the_value_of_dataset_json():
    names = {"posterior": "posterior", "anterior": "anterior"}
    values, faults = compare_labels({"posterior": (1,), "anterior": (2,)}, TASK, names)
    assert not faults
    label = np.array([0, 1, 2, 1], np.int16)
    assert values.apply(label).tolist() == [0, 2, 1, 2]
    assert label.tolist() == [0, 1, 2, 1]  # what was read stays as it is


def test_a_mapping_by_value_needs_no_dataset_json():
    values, faults = compare_labels({}, TASK, {"5": "anterior"})
    assert not faults
    assert values.apply(np.array([0, 5, 2], np.int16)).tolist() == [0, 1, 2]
    assert values.known(TASK) == (0, 2, 5)  # a 1 would be another structure: a fault


def test_two_structures_of_a_site_may_be_one_of_the_task():
    names = {"GTVp": "anterior", "GTVn": "anterior"}
    values, faults = compare_labels({"GTVp": (1,), "GTVn": (4,)}, TASK, names)
    assert not faults
    assert values.apply(np.array([1, 4], np.int16)).tolist() == [1, 1]
    values, faults = compare_labels(SAME, TASK, {"5": "anterior"})
    assert not faults
    assert values.known(TASK) == (0, 1, 2, 5)


def test_a_mapping_that_means_nothing_or_two_things_is_a_fault():
    assert (
        "'GVT', which dataset.json does not name"
        in faults_of(SAME, names={"GVT": "anterior"})[0].what
    )
    twice = faults_of({"a": (1,)}, names={"a": "anterior", "1": "posterior"})
    assert "two of the task's labels" in twice[0].what


def test_a_mapping_to_a_label_that_the_task_lacks_is_refused():
    with pytest.raises(InputError, match="did you mean 'anterior'"):
        check_targets({"GTV": "anteriour"}, TASK, site="oslo")
