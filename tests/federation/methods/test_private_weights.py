"""A second set of weights: its place in the memory, its gradient and its step."""

from __future__ import annotations

import pytest
import torch

from fednnunet.federation.methods.private_weights import PrivateWeights
from fednnunet.training.step import set_learning_rate
from tests.training.steps import batch, state, stepper

WEIGHTS = PrivateWeights(prefix="test/")


def step_both(here, there, gradients):
    """One optimiser step of the network `here`, and one of the private weights `there`."""
    for name, parameter in here.parameters.items():
        parameter.grad = gradients[name].clone()
    torch.nn.utils.clip_grad_norm_(here.network.parameters(), 12.0)
    here.optimiser.step()
    own = WEIGHTS.of(there)
    WEIGHTS.step(there, own, gradients)


def test_at_first_they_are_copies_of_the_networks_own():
    here = state()
    own = WEIGHTS.of(here)
    assert own.keys() == here.parameters.keys()
    for name, parameter in here.parameters.items():
        assert torch.equal(own[name], parameter)
        assert own[name].data_ptr() != parameter.data_ptr()


@pytest.mark.parametrize("recipe", ["nnunet", "fast"])
def test_their_steps_are_the_optimisers_own_and_the_network_rests(recipe):
    """Two steps, so that the moments of the first one count in the second."""
    here, there, before = state(recipe=recipe), state(recipe=recipe), state(recipe=recipe)
    for one in (here, there):
        set_learning_rate(one.optimiser, 0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        gradients = {
            name: torch.randn(p.shape, generator=generator) * 0.01
            for name, p in here.parameters.items()
        }
        step_both(here, there, gradients)
    own = WEIGHTS.of(there)
    for name, parameter in here.parameters.items():
        torch.testing.assert_close(own[name], parameter.detach(), rtol=1e-6, atol=1e-7)
        assert not torch.equal(own[name], before.parameters[name])
        assert torch.equal(there.parameters[name], before.parameters[name])


def test_the_gradient_is_taken_at_the_private_weights():
    here, elsewhere = state(), state()
    moved = {name: p.detach() + 0.01 for name, p in here.parameters.items()}
    here.memory = {WEIGHTS.name(name): tensor for name, tensor in moved.items()}
    elsewhere.network.load_state_dict(moved, strict=False)
    step = stepper()
    own, found = WEIGHTS.gradients(here, batch(), lambda part: step.gradient(here, 4, part))
    step.gradient(elsewhere, 4, batch())
    assert all(torch.equal(own[name], tensor) for name, tensor in moved.items())
    for name, parameter in elsewhere.parameters.items():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_the_personal_model_takes_what_is_there():
    tensors = {"a": torch.zeros(1), "b": torch.zeros(1)}
    found = WEIGHTS.model(tensors, {"test/own/a": torch.ones(1), "other/own/b": torch.ones(1)})
    assert {name: float(tensor) for name, tensor in found.items()} == {"a": 1.0, "b": 0.0}
