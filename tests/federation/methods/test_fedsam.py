"""SAM's gradient against the same written out in plain torch."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedsam import SAMGradient
from fednnunet.training.local_rule import LocalRule
from tests.federation.methods.gradients import elsewhere, gradient_at, what_is_left
from tests.training.steps import batch, state, stepper


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


def test_the_step_along_a_zero_gradient_is_zero():
    """At an optimum nothing is divided by zero."""

    def flat(samples):
        for parameter in here.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return torch.zeros(()), torch.zeros(3)

    here = state()
    SAMGradient(rho=0.05)(here, batch(), flat, None)
    assert all(bool(torch.isfinite(p).all()) for p in here.network.parameters())


def test_a_step_of_no_length_is_refused():
    with pytest.raises(InputError, match="above 0"):
        SAMGradient(rho=0)
