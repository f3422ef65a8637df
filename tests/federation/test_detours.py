"""SAM's and Per-FedAvg's gradients against the same written out in plain torch."""

from __future__ import annotations

import copy

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedsam import SAMGradient
from fednnunet.federation.methods.per_fedavg import AfterOneStep
from fednnunet.training.local_rule import LocalRule
from tests.training.test_step import batch, state, stepper


def gradient_at(network, step, part):
    """Loss, and gradients by name, of the mean over `part`."""
    network.zero_grad()
    loss = step.loss(network(part.image), part.labels)
    loss.backward()
    found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    return loss.detach(), found


def elsewhere(network, steps):
    other = copy.deepcopy(network)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if name in steps:
                parameter += steps[name]
    return other


def what_is_left(step, here, samples):
    """Loss and gradients after the step, whose optimiser is told to stand still."""
    for group in here.optimiser.param_groups:
        group["lr"] = 0.0
    loss, _ = step(here, samples)
    return loss, {n: p.grad for n, p in here.parameters.items() if p.grad is not None}


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_sams_gradient_is_that_at_w_plus_e(micro_batch, scaled):
    step = stepper(
        micro_batch=micro_batch,
        clip=0.0,
        local_rule=LocalRule(gradient_rules=(SAMGradient(rho=0.3),)),
    )
    here, home = state(), state().network
    here.scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=64.0)
    loss, got = what_is_left(step, here, batch())
    at_home, slope = gradient_at(home, step, batch())
    length = torch.cat([g.flatten() for g in slope.values()]).norm()
    _, want = gradient_at(
        elsewhere(home, {n: 0.3 * g / length for n, g in slope.items()}), step, batch()
    )
    torch.testing.assert_close(loss, at_home)
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)
    assert any(not torch.allclose(got[name], slope[name], rtol=1e-2) for name in got)
    for name, parameter in home.named_parameters():
        assert torch.equal(here.parameters[name], parameter)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_per_fedavgs_gradient_is_that_after_a_step_on_the_other_half(micro_batch, scaled):
    step = stepper(
        micro_batch=micro_batch,
        clip=0.0,
        local_rule=LocalRule(gradient_rules=(AfterOneStep(alpha=0.5),)),
    )
    here, home = state(), state().network
    here.scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=64.0)
    loss, got = what_is_left(step, here, batch())
    first, slope = gradient_at(home, step, batch().part(0, 2))
    there = elsewhere(home, {n: -0.5 * g for n, g in slope.items()})
    _, want = gradient_at(there, step, batch().part(2, 4))
    torch.testing.assert_close(loss, first)
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)
    for name, parameter in home.named_parameters():
        assert torch.equal(here.parameters[name], parameter)


def test_a_batch_of_one_cannot_be_halved():
    step = stepper(batch=1, local_rule=LocalRule(gradient_rules=(AfterOneStep(),)))
    with pytest.raises(InputError, match="cannot be halved"):
        step(state(), batch(1))


def test_the_uphill_step_of_a_zero_gradient_is_zero():
    """At an optimum there is no way uphill: nothing is divided by zero."""

    def flat(samples):
        for parameter in here.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return torch.zeros(()), torch.zeros(3)

    here = state()
    SAMGradient()(here, batch(), flat, None)
    assert all(bool(torch.isfinite(p).all()) for p in here.network.parameters())


@pytest.mark.parametrize("make", [lambda: SAMGradient(rho=0), lambda: AfterOneStep(alpha=-1)])
def test_steps_of_no_length_are_refused(make):
    with pytest.raises(InputError, match="above 0"):
        make()
