"""Per-FedAvg's gradient against the same written out in plain torch."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.per_fedavg import AfterOneStep
from fednnunet.training.local_rule import LocalRule
from tests.federation.methods.gradients import elsewhere, gradient_at, what_is_left
from tests.training.steps import batch, state, stepper


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
    step = stepper(batch=1, local_rule=LocalRule(gradient_rules=(AfterOneStep(alpha=0.01),)))
    with pytest.raises(InputError, match="cannot be halved"):
        step(state(), batch(1))


def test_a_step_of_no_length_is_refused():
    with pytest.raises(InputError, match="above 0"):
        AfterOneStep(alpha=-1)
