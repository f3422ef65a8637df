"""Gradients and temporary changes of parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fednnunet.training.perturbation import gradients, perturbed
from tests.training.steps import state


@pytest.mark.parametrize("fails", [False, True])
def test_perturbed_parameters_come_back_to_the_last_bit(fails):
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    steps = {name: torch.rand_like(p) for name, p in network.named_parameters()}
    try:
        with perturbed(network, steps):
            network(torch.rand(5, 3))
            for name, parameter in network.named_parameters():
                assert torch.equal(parameter, before[name] + steps[name])
            if fails:
                raise torch.OutOfMemoryError
    except torch.OutOfMemoryError:
        assert fails
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    network(torch.rand(5, 3))
    assert network[1].num_batches_tracked == 1


def test_gradients_are_in_the_losss_own_scale_and_none_where_float16_overflowed():
    here = state()
    here.scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=8.0)
    parameters = list(here.network.parameters())
    here.scaler.scale(parameters[0].sum()).backward()
    assert all(bool((g == 1).all()) for g in gradients(here).values())
    parameters[0].grad[0] = torch.inf
    assert all(not bool(g.any()) for g in gradients(here).values())
