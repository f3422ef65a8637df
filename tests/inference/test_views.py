"""Votes of networks and flips, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fednnunet.device import Device
from fednnunet.errors import InputError
from fednnunet.inference.views import Views

CPU = Device(channels_last=False)


class Says(nn.Module):
    """The same logits for every voxel."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits).reshape(1, -1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1, *x.shape[2:]).clone()


class Ramp(nn.Module):
    """A logit that grows along the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.arange(x.shape[-1], dtype=x.dtype).expand_as(x[:, :1]).clone()


def vote(views: Views) -> Tensor:
    return views(torch.zeros(1, 1, 2, 2, 4), CPU)[0, :, 0, 0]


def test_the_mean_goes_by_the_weights() -> None:
    networks = (Says(0.0, 1.0), Says(0.0, -5.0))
    assert vote(Views(networks=networks))[1, 0] == -2
    assert vote(Views(networks=networks, shares=(3, 1)))[1, 0] == -0.5


def test_flips_are_turned_back() -> None:
    assert vote(Views(networks=(Ramp(),)))[0].tolist() == [0, 1, 2, 3]
    mirrored = Views(networks=(Ramp(),), mirror_axes=(0, 1, 2))
    assert mirrored.count == 8
    assert vote(mirrored)[0].tolist() == [1.5] * 4


def test_the_spread_is_the_deviation_of_the_probabilities() -> None:
    sure, opposite = Says(0.0, 50.0), Says(50.0, 0.0)
    assert vote(Views(networks=(sure, opposite), spread=True))[2, 0] == pytest.approx(0.5)
    assert vote(Views(networks=(sure, sure), spread=True))[2, 0] == pytest.approx(0, abs=1e-3)
    one = Views(networks=(Says(0.0), Says(50.0)), shares=(1, 3), spread=True, regions=True)
    half = torch.tensor([0.5, 1.0, 1.0, 1.0]).std(correction=0)
    assert vote(one)[1, 0] == pytest.approx(float(half))


@pytest.mark.parametrize(
    ("shares", "what"), [((1.0,), "1 weights for 2"), ((1.0, 0.0), "weights of the bundles are")]
)
def test_weights_that_are_none_are_refused(shares: tuple[float, ...], what: str) -> None:
    with pytest.raises(InputError, match=what):
        Views(networks=(Says(0.0), Says(1.0)), shares=shares)
    with pytest.raises(InputError, match="no network"):
        Views(networks=())
