"""The planners by name, and the networks that they make of a topology."""

from __future__ import annotations

import pytest

from fednnunet.errors import PlanError
from fednnunet.planning.presets import PLANNERS, find_planner
from fednnunet.planning.topology import plan_topology

SIX_STAGES = plan_topology((1.0, 1.0, 1.0), (128, 128, 128))


@pytest.mark.parametrize(
    ("name", "features", "convs"),
    [
        ("plain", [32, 64, 128, 256, 320, 320], [2] * 6),
        ("resenc_l", [32, 64, 128, 256, 320, 320], [1, 3, 4, 6, 6, 6]),
        ("cpu", [16, 32, 64, 128, 128, 128], [1, 2, 2, 2, 2, 2]),
    ],
)
def test_features_double_up_to_the_limit(name: str, features: list[int], convs: list[int]) -> None:
    made = find_planner(name).architecture(SIX_STAGES)
    assert [stage.features for stage in made.stages] == features
    assert [stage.convs for stage in made.stages] == convs
    assert made.stages[-1].decoder_convs == 0 and made.stages[0].decoder_convs > 0


def test_2d_and_3d_have_budgets_and_limits_of_their_own() -> None:
    planner = find_planner("plain")
    assert planner.budget(is_2d=True) == planner.budget_2d != planner.budget(is_2d=False)
    wide = planner.architecture(plan_topology((1.0, 1.0), (512, 512)))
    assert max(stage.features for stage in wide.stages) == 512


def test_where_nothing_can_be_pooled_there_is_no_network() -> None:
    with pytest.raises(PlanError, match="too small for a U-Net"):
        find_planner("plain").architecture(plan_topology((1.0, 1.0, 1.0), (7, 7, 7)))


def test_an_unknown_name_lists_all() -> None:
    with pytest.raises(PlanError, match="no planner 'plane'") as caught:
        find_planner("plane")
    assert all(name in caught.value.mend for name in PLANNERS)
