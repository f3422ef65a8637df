"""The networks of bundles, which predict a volume together."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fednnunet.errors import DataError, InputError
from fednnunet.inference import ensemble
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.ensemble import VolumePredictor, Vote, check_bundles
from fednnunet.inference.export import Export, Predicted, Wanted, export_logits
from fednnunet.inference.memory import Memory
from fednnunet.inference.sliding import Window, predict_logits
from fednnunet.inference.views import Views
from fednnunet.network.unet import build_network
from fednnunet.planning.plan import Plan, Resampling
from fednnunet.preprocess.pipeline import prepare_volume
from fednnunet.volume import Geometry, Volume
from tests.inference.bodies import SHAPE, SPACING, Threshold, body, dice, mask_of, truth
from tests.inference.conftest import make_plan

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
    mask = mask_of([Threshold()], plan, volume, compute, mirror=True)
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
    mask = mask_of(members, plan, volume, compute)
    assert (mask[1:, 2:, :-1] == 2).all()


def test_bundles_of_other_plans_do_not_vote(
    tmp_path: Path, bundle: Bundle, new_plan: NewPlan, new_bundle: NewBundle
) -> None:
    other = new_bundle(tmp_path / "other", new_plan(patch=(8, 8, 16)))
    with pytest.raises(InputError, match="different plans"):
        check_bundles([bundle, other], False)


@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 18), st.integers(2, 24), st.integers(2, 9)),
    spacing=st.tuples(*[st.sampled_from((0.6, 1.0, 1.6))] * 3),
    patch=st.sampled_from(((8, 8, 8), (4, 8, 8), (8, 8))),
    count=st.integers(2, 4),
)
def test_a_mask_does_not_depend_on_the_memory(shape, spacing, patch, count):
    """In one part and in several, by a network whose logits depend on the place in the tile."""
    plan = make_plan(patch=patch, spacing=(1.0, 1.3, 1.0))
    torch.manual_seed(0)
    network = build_network(
        plan.configurations[0].architecture, channels=1, heads=3, norm=plan.norm
    ).eval()
    array = np.random.default_rng(1).normal(size=(1, *shape)).astype(np.float32)
    volume = Volume(array=array, geometry=Geometry(spacing_mm=spacing))
    prepared = prepare_volume(volume, plan, plan.configurations[0])
    wanted = Wanted(entropy=True, prepared=True)

    def predicted(parts: int) -> Predicted:
        export = Export(prepared.placement, plan.task, Resampling(), wanted)
        window = Window(prepared.data, patch)
        rows = prepared.placement.cropped_shape[1]
        edges = sorted({round(rows * i / parts) for i in range(parts + 1)})
        for low, high in itertools.pairwise(edges):
            some = slice(low, high)
            window.sweep(
                Views(networks=(network,)),
                export.grid.rows_into(some),
                export.part(some),
                compute=Compute(),
                spare=export.grid.spare if parts % 2 else 0,
            )
        return export.predicted

    once, parted = predicted(1), predicted(count)
    assert np.array_equal(once.mask, parted.mask)
    assert np.array_equal(once.entropy, parted.entropy)
    assert np.array_equal(once.prepared, parted.prepared)
    logits = predict_logits(network, prepared.data, patch, compute=Compute())
    whole = export_logits(logits, prepared.placement, plan.task, Resampling(), wanted)
    assert np.array_equal(once.mask, whole.mask)
    assert np.array_equal(once.prepared, logits.argmax(axis=0))


def test_a_memory_that_is_too_small_is_an_error(bundle: Bundle, compute: Compute) -> None:
    vote = Vote(memory=Memory.of(0.001))
    with pytest.raises(DataError, match="GiB at once") as caught:
        VolumePredictor([bundle], compute=compute, vote=vote)(
            Volume(array=body()[None], geometry=Geometry(spacing_mm=SPACING))
        )
    assert "--memory-gib" in caught.value.mend


def test_votes_go_by_the_weights_of_the_bundles(bundle: Bundle, compute: Compute) -> None:
    with pytest.raises(InputError, match="2 weights for 1 bundles"):
        VolumePredictor([bundle], compute=compute, vote=Vote(weights=(2.0, 1.0)))
