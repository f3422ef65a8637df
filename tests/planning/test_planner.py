from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.errors import PlanError
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.memory import estimate_elements
from fednnunet.planning.plan import read_plan
from fednnunet.planning.planner import PLANNERS, make_plan
from fednnunet.planning.shapes import ShapeSketch
from tests.planning.cases import TASK, exchanges, make_case, make_cases, plan_of_cases

LARGE = (220, 400, 380)


def test_the_reference_estimate_of_nnunet_is_met() -> None:
    plan = plan_of_cases([dataclasses.replace(c, spacing_mm=(1.0, 1.0, 1.0)) for c in HIPPOCAMPI])
    full = plan.configuration("3d_fullres")
    assert full.patch_vox == (40, 56, 40)
    assert estimate_elements(full.architecture, full.patch_vox, 3) == 19_174_400
    assert (full.batch, full.batch_dice) == (2, False)


HIPPOCAMPI = [dataclasses.replace(make_case(i), shape_vox=(36, 50, 35)) for i in range(8)]


@pytest.mark.parametrize("name", PLANNERS)
def test_every_planner_makes_a_plan_that_can_be_read_back(name: str, tmp_path: Path) -> None:
    plan = plan_of_cases(make_cases(6), planner=name)
    records.write(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan
    decided = {reason.decision for reason in plan.reasons}
    for part in ("patch", "batch", "features", "strides and kernels"):
        assert f"3d_fullres: {part}" in decided


def test_the_cpu_planner_is_small() -> None:
    small = plan_of_cases(HIPPOCAMPI, planner="cpu").configuration("3d_fullres")
    assert small.patch_vox == (32, 48, 32) and 2 <= small.batch <= 4
    assert [stage.features for stage in small.architecture.stages] == [16, 32, 64, 128]
    large = plan_of_cases(make_cases(4, shape=LARGE), planner="cpu").configuration("3d_fullres")
    assert 2 <= large.batch <= 4
    assert estimate_elements(large.architecture, large.patch_vox, 3) <= 40e6


def test_the_order_of_sites_memories_does_not_matter() -> None:
    cases = make_cases(5, shape=LARGE)
    assert plan_of_cases(cases, memory_gib=(8.0, 24.0)) == plan_of_cases(
        cases, memory_gib=(24.0, 8.0)
    )


def test_planning_twice_gives_the_same_plan() -> None:
    assert plan_of_cases(make_cases(5)) == plan_of_cases(make_cases(5)[::-1])


def test_one_slice_thick_cases_are_planned_in_2d_only() -> None:
    flat = [
        dataclasses.replace(c, shape_vox=(1, 300, 280), spacing_mm=(999.0, 1.0, 1.0))
        for c in make_cases(4)
    ]
    assert [c.name for c in plan_of_cases(flat).configurations] == ["2d"]


def test_who_has_what_is_in_the_plan() -> None:
    plan = plan_of_cases(make_cases(6), site_labels={"berlin": ("organ",)})
    assert plan.label_cases == {"background": 6, "organ": 6, "tumour": 3}
    assert plan.site_labels == {"berlin": ("organ",)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"planner": "plane"}, "no planner 'plane'"),
        ({"memory_gib": 0.0}, "memory_gib"),
        ({"memory_gib": (8.0, float("nan"))}, "memory_gib"),
        ({"memory_gib": 1e-5}, "no patch fits|too small"),
    ],
)
def test_impossible_means_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan_of_cases(make_cases(3), **settings)


def test_impossible_statistics_are_refused() -> None:
    fingerprint, shapes = exchanges(make_cases(3))
    with pytest.raises(PlanError, match="no cases"):
        make_plan(Fingerprint.empty(TASK), shapes)
    with pytest.raises(PlanError, match="the target is"):
        make_plan(fingerprint, ShapeSketch.empty((1.0, 1.0, 1.0)))
    with pytest.raises(PlanError, match="second 0"):
        make_plan(fingerprint, ShapeSketch.empty(shapes.spacing_mm))
    tiny = [dataclasses.replace(case, shape_vox=(3, 4, 5)) for case in make_cases(3)]
    with pytest.raises(PlanError, match="too small for a U-Net"):
        plan_of_cases(tiny)
