from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fednnunet.errors import PlanError
from fednnunet.interop.case_list import read_case_list
from fednnunet.planning.limits import check_limits
from fednnunet.planning.plan import Architecture, Configuration, Plan, Stage
from tests.planning.golden_files import FILES, plan_of

PLAN = plan_of(FILES[0], read_case_list(FILES[0]), sites=1, seed=1)


def changed(**fields: object) -> Plan:
    """The plan with one configuration, of which some fields are others."""
    configuration = replace(PLAN.configuration("3d_fullres"), **fields)
    return replace(PLAN, configurations=(configuration,))


def a_stage(features: int, kernel: int, stride: int, *, convs: int = 1, last: bool) -> Stage:
    return Stage(
        features=features,
        kernel=(kernel,) * 3,
        stride=(stride,) * 3,
        convs=convs,
        decoder_convs=0 if last else 1,
    )


def a_network(**of_last: int) -> Architecture:
    last = {"features": 8, "kernel": 3, "stride": 2} | of_last
    return Architecture(
        kind="plain", stages=(a_stage(8, 3, 1, last=False), a_stage(**last, last=True))
    )


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_plan_of_a_planner_is_accepted(path: Path) -> None:
    check_limits(plan_of(path, read_case_list(path), sites=1, seed=1))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"batch": 1}, "the batch of 3d_fullres is 1"),
        ({"normalisation": ("none",) * len(PLAN.task.channels)}, "normalises the channels by"),
        ({"spacing_mm": (5e3, 1.0, 1.0)}, "the spacing of 3d_fullres"),
        ({"patch_vox": (8, 8, 8), "architecture": a_network(kernel=15)}, "kernel of"),
        ({"patch_vox": (8, 8, 8), "architecture": a_network(features=1500)}, "1500 features"),
        ({"patch_vox": (8, 8, 8), "architecture": a_network(convs=40)}, "40 convolutions"),
        ({"patch_vox": (2048, 8, 8), "architecture": a_network()}, "the patch of"),
        ({"patch_vox": (1024, 1024, 1024), "architecture": a_network()}, "GiB"),
    ],
)
def test_a_plan_out_of_bounds_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        check_limits(changed(**fields))
    assert caught.value.mend


def test_all_faults_come_at_once() -> None:
    whole: Configuration = PLAN.configuration("3d_fullres")
    plan = replace(PLAN, configurations=tuple(replace(whole, name=f"c{i}") for i in range(9)))
    bad = replace(plan, configurations=tuple(replace(c, batch=1) for c in plan.configurations))
    with pytest.raises(Exception, match="10 faults"):
        check_limits(bad)
