"""Elements of feature maps, and what fits into a site's memory."""

from __future__ import annotations

import pytest

from fednnunet.errors import PlanError
from fednnunet.planning.memory import (
    PLAIN_3D,
    Budget,
    estimate_elements,
    micro_batch,
    output_channels,
    training_gib,
)
from fednnunet.task import Task
from tests.planning.cases import TASK, make_cases, plan_of_cases
from tests.training.fakes import small_architecture, small_plan

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


@pytest.mark.parametrize(
    ("kind", "elements"),
    [
        ("plain", 3 * 4 * 512 + 3 * 512 + 8 * 64),  # convolution, two of the decoder, and the head
        ("residual", 5 * 4 * 512 + 3 * 512 + 3 * 8 * 64),  # with a stem, and with a projection
    ],
)
def test_elements_by_hand(kind: str, elements: int) -> None:
    assert estimate_elements(small_architecture(kind=kind), (8, 8, 8), 3) == elements


def test_a_budget_scales_with_the_memory() -> None:
    budget = Budget(elements=100.0, batch=2, memory_gib=8)
    assert (budget.at(8), budget.at(4), budget.at(24)) == (100.0, 50.0, 300.0)


@pytest.mark.parametrize(("samples", "at_once"), [(1, 1), (2, 2), (4, 3), (5, 3), (6, 6), (99, 6)])
def test_what_fits_is_rounded_down_to_a_divisor_of_the_batch(samples: int, at_once: int) -> None:
    plan, configuration = small_plan(batch=6)
    need = estimate_elements(configuration.architecture, (8, 8, 8), 3)
    memory_gib = samples * need / (PLAIN_3D.elements * PLAIN_3D.batch) * PLAIN_3D.memory_gib
    assert micro_batch(configuration, plan.task, memory_gib) == at_once


def test_the_memory_that_would_do_is_named() -> None:
    plan, configuration = small_plan()
    with pytest.raises(PlanError, match="does not fit into 1e-06 GiB") as caught:
        micro_batch(configuration, plan.task, 1e-6)
    assert caught.value.where == "configuration 3d_fullres"


def test_training_needs_three_values_an_element_and_the_interpreter() -> None:
    plan, configuration = small_plan(batch=2)
    assert training_gib(configuration, plan.task) == 1 + 12 * 2 * 8192 / 2**30
