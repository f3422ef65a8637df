"""The networks of bundles, which predict a volume together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from fednnunet.errors import DataError, InputError
from fednnunet.inference import ensemble
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.ensemble import check_bundles, predict_volume
from fednnunet.planning.plan import Plan
from fednnunet.volume import Geometry, Volume
from tests.inference.bodies import SHAPE, SPACING, Threshold, body, dice, truth

NewPlan = Callable[..., Plan]
NewBundle = Callable[..., Bundle]


@pytest.fixture
def bundle(
    tmp_path: Path,
    new_plan: NewPlan,
    new_bundle: NewBundle,
    monkeypatch: pytest.MonkeyPatch,
) -> Bundle:
    """A bundle whose network is a threshold."""
    plan = new_plan(spacing=(2.0, 1.0, 1.0), transpose=(0, 1, 2))
    monkeypatch.setattr(Bundle, "network", lambda self: Threshold())
    return new_bundle(tmp_path / "bundle", plan)


@pytest.mark.parametrize("transpose", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_a_volume_comes_back_in_place(
    new_plan: NewPlan,
    compute: Compute,
    transpose: tuple[int, int, int],
    patch: tuple[int, ...],
) -> None:
    spacing = tuple((2.0, 1.0, 1.0)[axis] for axis in transpose)
    plan = new_plan(patch=patch, spacing=spacing, transpose=transpose)
    volume = Volume(array=body()[None], geometry=Geometry(spacing_mm=SPACING))
    mask = predict_volume(
        [Threshold()], plan, plan.configurations[0], volume, compute=compute, mirror=True
    )
    assert mask.shape == SHAPE
    assert dice(mask > 0, truth() > 0) > 0.9
    assert dice(mask == 2, truth() == 2) > 0.85


def test_routing_that_does_not_fit_is_an_error_of_its_case(
    bundle: Bundle, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model = ensemble.BundleModel(bundle, compute)
    model._experts = object()
    monkeypatch.setattr(ensemble, "route", full)
    with pytest.raises(DataError, match="does not hold"):
        model.route(body()[None])


def test_several_networks_vote_by_mean_logits(new_plan: NewPlan, compute: Compute) -> None:
    class Constant(nn.Module):
        def __init__(self, *logits: float) -> None:
            super().__init__()
            self.logits = torch.tensor(logits).reshape(1, 3, 1, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(x), 3, *x.shape[2:])

    plan = new_plan()
    volume = Volume(array=body()[None], geometry=Geometry(spacing_mm=SPACING))
    members = [Constant(0.0, 1.0, 0.9), Constant(0.0, -1.0, 0.9)]
    mask = predict_volume(members, plan, plan.configurations[0], volume, compute=compute)
    assert (mask[1:, 2:, :-1] == 2).all()


def test_bundles_of_other_plans_do_not_vote(
    tmp_path: Path, bundle: Bundle, new_plan: NewPlan, new_bundle: NewBundle
) -> None:
    other = new_bundle(tmp_path / "other", new_plan(patch=(8, 8, 16)))
    with pytest.raises(InputError, match="different plans"):
        check_bundles([bundle, other], False)
