"""An iteration that does not fit is repeated in smaller parts."""

from __future__ import annotations

import weakref

import pytest
import torch

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.methods.fedsam import SAMGradient
from fednnunet.training.local_rule import LocalRule
from fednnunet.training.out_of_memory import step_with_fallback
from tests.training.steps import batch, state, stepper


class TooSmall:
    """A network on a device that holds `limit` samples; `spared` forward passes go well at first.

    A pass that fails has run before, as one does whose backward half lacks the memory.
    """

    def __init__(self, network, limit, spared=0):
        self.network, self.limit, self.spared = network, limit, spared

    def __call__(self, image):
        logits = self.network(image)
        self.spared -= 1
        if len(image) > self.limit and self.spared < 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits


def same_tensors(a, b):
    one, two = a.network.state_dict(), b.network.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("spared", [0, 1])
def test_out_of_memory_repeats_the_iteration_in_smaller_parts(spared, norm):
    """After a part that went well a gradient is left, and batch normalisation has moved."""
    easy, hard = state(norm=norm), state(norm=norm)
    hard.runner = TooSmall(hard.network, 1, spared)
    step, (loss, _) = step_with_fallback(stepper(micro_batch=2), hard, batch())
    assert step.micro_batch == 1
    want, _ = stepper(micro_batch=1)(easy, batch())
    torch.testing.assert_close(loss, want, rtol=0, atol=0)
    assert same_tensors(easy, hard)


def test_the_maps_of_a_failed_pass_are_gone_when_memory_is_cleared(monkeypatch):
    here, maps, held = state(), [], []

    def runner(image):
        logits = here.network(image)
        maps.append(weakref.ref(logits[0]))
        if len(image) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits

    clear = here.optimiser.zero_grad

    def validate(set_to_none=True):
        held.append([ref() is not None for ref in maps])
        clear(set_to_none=set_to_none)

    here.runner = runner
    monkeypatch.setattr(here.optimiser, "zero_grad", validate)
    step_with_fallback(stepper(), here, batch())
    assert held[:2] == [[], [False]]


def test_a_gradient_rule_is_repeated_in_smaller_parts_where_it_stands():
    """Its second gradient fails: the first, and what the gradient rule made of it, stay."""
    easy, hard = state(), state()
    hard.runner = TooSmall(hard.network, 1, spared=2)
    local = LocalRule(gradient_rules=(SAMGradient(rho=0.1),))
    step, _ = step_with_fallback(stepper(micro_batch=2, local_rule=local), hard, batch())
    stepper(micro_batch=1, local_rule=local)(easy, batch())
    assert step.micro_batch == 1
    for p, q in zip(easy.network.parameters(), hard.network.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_a_step_of_the_optimiser_that_lacks_memory_is_not_repeated(monkeypatch):
    here, steps = state(), []

    def fails(*args):
        steps.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(here.optimiser, "step", fails)
    with pytest.raises(torch.OutOfMemoryError):
        step_with_fallback(stepper(), here, batch())
    assert steps == [1]


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize(("ranks", "told"), [(1, "one patch alone"), (2, "4 patches at once")])
def test_what_does_not_fit_is_an_error_and_changes_nothing(ranks, told, norm):
    here, before = state(norm=norm), state(norm=norm)
    here.runner = TooSmall(here.network, 0)
    with pytest.raises(FedNNUNetError, match=f"{told}.* not fit") as caught:
        step_with_fallback(stepper(ranks=ranks), here, batch())
    assert "sites.NAME.memory_gib" in caught.value.mend
    assert "micro_batch" not in str(caught.value)
    assert same_tensors(before, here)
