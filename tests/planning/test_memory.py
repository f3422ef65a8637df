"""Elements of feature maps, and what fits into a site's memory."""

from __future__ import annotations

import pytest

from fednnunet.errors import PlanError
from fednnunet.planning.memory import micro_batch, output_channels
from fednnunet.task import Task
from tests.planning.cases import TASK, make_cases, plan_of_cases

LARGE = (220, 400, 380)


def test_regions_and_an_ignore_label_count_as_outputs() -> None:
    labels = ("background", "a", "b", "c")
    regions = {"ab": (1, 2), "c": (3,)}
    assert output_channels(Task(name="t", channels=("x",), labels=labels)) == 4
    assert output_channels(Task(name="t", channels=("x",), labels=labels, regions=regions)) == 3
    assert output_channels(Task(name="t", channels=("x",), labels=labels, ignore=9)) == 5


def test_the_smallest_site_bounds_the_patch_and_gradients_fill_the_batch() -> None:
    cases = make_cases(20, shape=LARGE)
    small = plan_of_cases(cases, memory_gib=8.0).configuration("3d_fullres")
    mixed = plan_of_cases(cases, memory_gib=(8.0, 24.0, 24.0)).configuration("3d_fullres")
    assert mixed.patch_vox == small.patch_vox and mixed.batch > small.batch
    assert micro_batch(mixed, TASK, 24.0) == mixed.batch
    at_once = micro_batch(mixed, TASK, 8.0)
    assert at_once < mixed.batch and mixed.batch % at_once == 0
    with pytest.raises(PlanError, match="does not fit"):
        micro_batch(mixed, TASK, 0.5)
