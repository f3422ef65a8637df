"""What a federated method may change in training, part by part, without any method."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.training.local_rule import LocalRule, RoundContext, TrainingPhase, phase_lengths
from fednnunet.training.perturbation import gradients, norm
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import load, new_state, save
from tests.training.fakes import CPU, names_of, small_plan, train_on_cpu
from tests.training.steps import batch, state, stepper


def odd(name):
    return name.endswith("weight")


def even(name):
    return not odd(name)


def test_two_halves_are_joined_in_order():
    one, other = (
        LocalRule(terms=(len,), features=True),
        LocalRule(terms=(abs,), gradient_rules=(min,)),
    )
    both = one + other
    assert (both.terms, both.gradient_rules, both.features) == ((len, abs), (min,), True)
    assert LocalRule() + one == one + LocalRule() == one


def test_phases_that_do_not_fill_a_round_are_refused():
    with pytest.raises(InputError, match=r"sum to 0\.5"):
        LocalRule(phases=(TrainingPhase(is_trained=odd, fraction=0.5),))
    whole = LocalRule(phases=(TrainingPhase(is_trained=odd, fraction=1.0),))
    with pytest.raises(InputError, match="both rules divide"):
        _ = whole + whole


@pytest.mark.parametrize("iterations", [0, 1, 2, 5, 25])
def test_phases_share_out_every_iteration(iterations):
    phases = (
        TrainingPhase(is_trained=odd, fraction=0.5),
        TrainingPhase(is_trained=even, fraction=0.5),
    )
    (first, resting), (second, others) = phase_lengths(phases, iterations, ("a.weight", "a.bias"))
    assert first + second == iterations and abs(first - second) <= 1
    assert (resting, others) == ({"a.bias"}, {"a.weight"})
    assert phase_lengths((), iterations, ("a",)) == ((iterations, frozenset()),)


def test_phases_are_trainings_one_after_the_other():
    plan, configuration = small_plan()
    one, two = (
        new_state(plan, configuration, RECIPES["fast"], CPU, seed=1),
        new_state(plan, configuration, RECIPES["fast"], CPU, seed=1),
    )
    phases = (
        TrainingPhase(is_trained=odd, fraction=0.5),
        TrainingPhase(is_trained=even, fraction=0.5),
    )
    train_on_cpu(one, iterations=4, local_rule=LocalRule(phases=phases))
    train_on_cpu(two, iterations=2, frozen=names_of(two, even))
    train_on_cpu(two, iterations=2, frozen=names_of(two, odd))
    for p, q in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(p, q) and p.requires_grad


def test_a_gradient_rule_that_only_asks_for_the_gradient_changes_nothing():
    def straight(state, batch, gradient, context):
        return gradient(batch)

    here, there = state(), state()
    got = stepper(local_rule=LocalRule(gradient_rules=(straight, straight)))(here, batch())
    want = stepper()(there, batch())
    assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])
    for p, q in zip(here.network.parameters(), there.network.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_gradient_rule_over_a_part_takes_the_mean_over_that_part():
    def first_half(state, batch, gradient, context):
        return gradient(batch.part(0, 2))

    here, there = state(), state()
    got = stepper(local_rule=LocalRule(gradient_rules=(first_half,)), micro_batch=1)(here, batch())
    want = stepper(batch=2)(there, batch().part(0, 2))
    torch.testing.assert_close(got[0], want[0])
    for p, q in zip(here.network.parameters(), there.network.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_the_first_gradient_rule_is_the_outermost():
    order = []

    def named(name):
        def rule(state, batch, gradient, context):
            order.append(name)
            return gradient(batch)

        return rule

    stepper(local_rule=LocalRule(gradient_rules=(named("outer"), named("inner"))))(state(), batch())
    assert order == ["outer", "inner"]


def test_a_correction_comes_before_clipping():
    def enlarge(state, context):
        for parameter in state.network.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(1e6)

    here = state()
    stepper(local_rule=LocalRule(corrections=(enlarge,)), clip=0.5)(here, batch())
    assert float(norm(gradients(here))) == pytest.approx(0.5, rel=1e-4)


def test_a_term_sees_what_the_finest_head_reads():
    seen = []

    def validate(found):
        seen.append(found)
        return found.features.sum() * 0

    here = state()
    stepper(local_rule=LocalRule(terms=(validate,), features=True), micro_batch=2)(here, batch())
    head = here.network.heads[0]
    before = state().network
    torch.testing.assert_close(
        seen[0].logits, before.heads[0](seen[0].features), rtol=1e-4, atol=1e-5
    )
    assert [len(found.image) for found in seen] == [2, 2]
    assert seen[0].features.shape[1] == head.in_channels


def test_memory_is_saved_and_loaded(tmp_path):
    here, there = state(), state()
    here.memory = {"own/heads.0.weight": torch.rand(2, 3), "count": torch.tensor(3)}
    save(here, tmp_path)
    assert load(there, tmp_path)
    assert there.memory.keys() == here.memory.keys()
    assert all(torch.equal(tensor, there.memory[n]) for n, tensor in here.memory.items())


def test_the_context_tells_received_from_own():
    context = RoundContext(
        start={"a": torch.ones(1), "b": torch.zeros(1)}, shared=frozenset({"a"}), extras={}
    )
    assert context.received.keys() == {"a"}
    assert context.on(torch.device("meta")).start["b"].device.type == "meta"
