"""The entropy of softmax and sigmoids, against its definition."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import special

from fednnunet.inference.export import Wanted, export_logits
from fednnunet.inference.uncertainty import unsure_share
from fednnunet.planning.plan import Plan, Resampling
from fednnunet.preprocess.pipeline import Placement, prepare_volume
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume


def entropy_of_logits(
    logits: np.ndarray, placement: Placement, task: Task, resampling: Resampling
) -> np.ndarray:
    found = export_logits(logits, placement, task, resampling, Wanted(entropy=True)).entropy
    assert found is not None
    return found


REGIONS = Task(
    name="t",
    channels=("MRI",),
    labels=("background", "edema", "core"),
    regions={"whole": (1, 2), "core": (2,)},
)


def placement_of(plan: Plan) -> Placement:
    """A volume of 6x7x8 voxels at the plan's own spacing, with a margin of zeros."""
    array = np.zeros((1, 6, 7, 8), np.float32)
    array[0, 1:, :, :-2] = 5
    geometry = Geometry(spacing_mm=(1.5, 1.0, 1.0))
    return prepare_volume(
        Volume(array=array, geometry=geometry), plan, plan.configurations[0]
    ).placement


@pytest.mark.parametrize("size", [1.0, 200.0])
def test_it_is_the_entropy_of_the_softmax(new_plan: Callable[..., Plan], size: float) -> None:
    plan = new_plan()
    placement = placement_of(plan)
    logits = np.random.default_rng(0).normal(0, size, (3, 5, 7, 6)).astype(np.float32)
    found = entropy_of_logits(logits, placement, plan.task, Resampling())
    p = special.softmax(logits.astype(float), axis=0)
    expected = special.entr(p).sum(axis=0) / math.log(3)
    np.testing.assert_allclose(found[1:, :, :-2], expected, atol=2e-5)
    assert found.shape == (6, 7, 8) and found.dtype == np.float32
    assert not found[0].any() and not found[..., -2:].any()


def test_of_regions_it_is_the_mean_over_sigmoids(new_plan: Callable[..., Plan]) -> None:
    plan = new_plan(task=REGIONS)
    logits = np.random.default_rng(0).normal(0, 3, (2, 5, 7, 6)).astype(np.float32)
    found = entropy_of_logits(logits, placement_of(plan), plan.task, Resampling())
    p = special.expit(logits.astype(float))
    expected = (special.entr(p) + special.entr(1 - p)).mean(axis=0) / math.log(2)
    np.testing.assert_allclose(found[1:, :, :-2], expected, atol=2e-5)


def test_no_preference_is_one_and_a_sure_voxel_zero(new_plan: Callable[..., Plan]) -> None:
    plan = new_plan()
    logits = np.zeros((3, 5, 7, 6), np.float32)
    logits[1, 2] = 50
    found = entropy_of_logits(logits, placement_of(plan), plan.task, Resampling())
    assert found[1, 0, 0] == pytest.approx(1) and found[3, 0, 0] == pytest.approx(0, abs=1e-6)


def test_a_case_counts_by_unsure_voxels_for_every_voxel_found() -> None:
    entropy, mask = np.zeros((2, 2, 2)), np.zeros((2, 2, 2), int)
    entropy[0] = 0.5
    mask[0, 0] = 2
    assert unsure_share(entropy, mask) == pytest.approx(1.0)
    assert unsure_share(entropy, mask * 0) == math.inf
