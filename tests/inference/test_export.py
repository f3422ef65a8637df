"""From logits to labels on the native grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fednnunet.inference.export import export_logits
from fednnunet.planning.plan import Plan, Resampling
from fednnunet.preprocess.pipeline import Prepared, prepare_volume
from fednnunet.preprocess.resample import resample_logits
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume

NewPlan = Callable[..., Plan]


def _prepared(plan: Plan) -> Prepared:
    """A volume of 10x12x14 voxels with a margin of zeros on one side of each axis."""
    array = np.zeros((1, 10, 12, 14), np.float32)
    array[0, 2:, 1:, :-3] = np.random.default_rng(0).uniform(1, 2, (8, 11, 11))
    volume = Volume(array=array, geometry=Geometry(spacing_mm=(2.0, 1.0, 1.0)))
    return prepare_volume(volume, plan, plan.configurations[0])


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_class_by_class_equals_argmax_of_all(
    new_plan: NewPlan, transpose: tuple[int, int, int]
) -> None:
    plan = new_plan(spacing=(1.3, 1.3, 1.3), transpose=transpose)
    placement = _prepared(plan).placement
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, *placement.prepared_shape)).astype(np.float32)
    labels = export_logits(logits, placement, plan.task, Resampling()).mask
    native = resample_logits(
        logits, placement.target_mm, placement.spacing_mm, placement.cropped_shape
    )
    expected = np.zeros([(10, 12, 14)[axis] for axis in transpose])
    low = [(2, 1, 0)[axis] for axis in transpose]
    high = [(10, 12, 11)[axis] for axis in transpose]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    expected[box] = native.argmax(axis=0)
    np.testing.assert_array_equal(labels, expected.transpose(np.argsort(transpose)))
    assert labels.dtype == np.uint8


def test_equal_logits_go_to_the_lower_label(new_plan: NewPlan) -> None:
    plan = new_plan()
    placement = _prepared(plan).placement
    logits = np.ones((3, *placement.prepared_shape), np.float32)
    assert not export_logits(logits, placement, plan.task, Resampling()).mask.any()


def test_later_regions_overwrite_earlier_ones(new_plan: NewPlan) -> None:
    task = Task(
        name="t",
        channels=("MRI",),
        labels=("background", "a", "b"),
        regions={"whole": (1, 2), "core": (2,)},
    )
    plan = new_plan(task=task, spacing=(2.0, 1.0, 1.0))
    placement = _prepared(plan).placement
    logits = np.full((2, *placement.prepared_shape), -1.0, np.float32)
    logits[0, 1:6] = 1.0
    logits[1, 3:5] = 0.5
    labels = export_logits(logits, placement, task, Resampling()).mask
    crop = labels[2:, 1:, :-3]
    assert [int(plane.max()) for plane in crop] == [0, 1, 1, 2, 2, 1, 0, 0]
    assert (labels[:2] == 0).all()
