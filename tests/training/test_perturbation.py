"""Gradients and temporary changes of parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fednnunet.training.perturbation import gradients, norm, perturbed
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


def test_the_norm_is_over_all_tensors_together():
    assert float(norm({"a": torch.tensor([3.0]), "b": torch.tensor([[0.0, 4.0]])})) == 5.0


def test_only_the_named_parameters_are_perturbed():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = network[1].weight.detach().clone()
    with perturbed(network, {"0.weight": torch.ones(2, 2)}):
        assert torch.equal(network[1].weight, before)


def test_parameters_without_a_gradient_have_none():
    here = state()
    assert gradients(here) == {}
    name, parameter = next(iter(here.parameters.items()))
    parameter.sum().backward()
    found = gradients(here)
    assert found.keys() == {name} and bool((found[name] == 1).all())
    found[name].zero_()
    assert bool((parameter.grad == 1).all())
