from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fednnunet.errors import PlanError
from fednnunet.planning.configuration import MemoryBudget, Sized, first_patch, size_configuration
from fednnunet.planning.memory import estimate_elements
from fednnunet.planning.presets import PLANNERS

MEDIAN = (128.0, 256.0, 256.0)
VOXELS = 50 * math.prod(MEDIAN)


def sized(
    gib: float = 8.0, *, planner: str = "plain", spacing=(1.0, 1.0, 1.0), median=MEDIAN, **more
) -> Sized:
    budget = MemoryBudget(
        planner=replace(PLANNERS[planner], **more), patch_gib=gib, batch_gib=gib, outputs=3
    )
    return size_configuration(budget, spacing, median, VOXELS)


def test_the_first_patch_is_a_cube_in_mm_cut_to_the_median_shape():
    patch = first_patch((4.0, 1.0, 1.0), (1000, 1000, 1000))
    assert patch[1] == patch[2] == pytest.approx(4 * patch[0], rel=0.02)
    assert math.prod(patch) == pytest.approx(256**3, rel=0.02)
    assert first_patch((1.0, 1.0, 1.0), (20, 1000, 1000))[0] == 20


def test_the_patch_fits_the_memory_and_grows_with_it():
    small, large = sized(4.0), sized(16.0)
    assert math.prod(small.patch_vox) < math.prod(large.patch_vox)
    room = PLANNERS["plain"].budget(is_2d=False).at(4.0)
    assert estimate_elements(small.architecture, small.patch_vox, 3) <= room


def test_the_strides_divide_the_patch():
    found = sized(spacing=(3.0, 0.8, 0.8), median=(50.0, 300.0, 260.0))
    divisor = found.architecture.divisor
    assert all(edge % step == 0 for edge, step in zip(found.patch_vox, divisor, strict=True))


def test_every_decision_has_a_reason_with_its_numbers():
    found = sized(4.0)
    assert [reason.decision for reason in found.reasons] == [
        "patch",
        "strides and kernels",
        "features",
        "batch",
    ]
    text = found.reasons[0].because
    assert " x ".join(map(str, found.patch_vox)) in text
    assert "shortened in" in text


def test_the_batch_has_two_samples_at_least_and_the_planners_limit_at_most():
    assert sized(4.0).batch == 2
    small = {"median": (16.0, 16.0, 16.0)}
    assert sized(**small).batch > 2
    limited = sized(planner="cpu", **small)
    assert limited.batch == 2
    assert "this planner allows at most 2" in limited.reasons[-1].because


def test_a_patch_that_must_not_be_padded_is_shorter_than_the_median():
    median = (33.0, 33.0, 33.0)
    assert sized(median=median).patch_vox == (40, 40, 40)
    assert max(sized(median=median, max_padding=0.1).patch_vox) <= 33 * 1.1


def test_a_memory_without_room_for_any_patch_is_an_error():
    with pytest.raises(PlanError):
        sized(1e-6)
