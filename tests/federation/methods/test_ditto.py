"""Ditto's two updates against the paper's, written out; the personal model; what stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fednnunet.errors import InputError
from fednnunet.federation.methods.ditto import PRIVATE, Ditto
from fednnunet.training import recipe
from fednnunet.training.local_rule import RoundContext
from fednnunet.training.state import TrainingState

RATE, STRENGTH = 0.1, 0.5
PLAIN = recipe.Recipe(
    name="plain",
    optimiser="sgd",
    learning_rate=RATE,
    schedule="polynomial",
    weight_decay=0.0,
    momentum=1e-12,
    clip=0.0,
)
TARGETS = [torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 3.0]]), torch.tensor([[-1.0, 1.0]])]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setitem(recipe.RECIPES, "plain", PLAIN)


def a_state() -> TrainingState:
    network = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 1.0]]))
    return TrainingState(
        network=network,
        optimiser=torch.optim.SGD(network.parameters(), lr=RATE),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        recipe="plain",
        seed=0,
    )


def iterate(state, target, rule, context):
    """One iteration of f(w) = ||w - target||^2 / 2, the optimiser's step on w included."""

    def gradient(batch):
        state.optimiser.zero_grad()
        loss = (state.network.weight - target).square().sum() / 2
        loss.backward()
        return loss.detach(), torch.zeros(3, 1)

    measured = rule(state, None, gradient, context)
    state.optimiser.step()
    return measured


@pytest.mark.parametrize("shared", [True, False])
def test_both_models_move_as_in_the_paper(shared):
    state, rule = a_state(), Ditto(strength=STRENGTH)
    w = v = received = torch.tensor([[1.0, 1.0]])
    names = frozenset({"weight"}) if shared else frozenset()
    context = RoundContext(start={"weight": received}, shared=names)
    for target in TARGETS:
        loss, _ = iterate(state, target, rule, context)
        assert float(loss) == pytest.approx(float((w - target).square().sum() / 2))
        pull = STRENGTH * (v - received) if shared else 0.0  # private parameters are not pulled
        w, v = w - RATE * (w - target), v - RATE * (v - target + pull)
        torch.testing.assert_close(state.network.weight.detach(), w)
        torch.testing.assert_close(state.memory["ditto/own/weight"], v)
    torch.testing.assert_close(PRIVATE.model({"weight": w}, state.memory)["weight"], v)


def test_before_any_training_the_personal_model_is_the_network():
    tensors = {"weight": torch.tensor([1.0])}
    assert PRIVATE.model(tensors, {}) == tensors


def test_nothing_is_kept_of_an_iteration_that_fails():
    state, calls = a_state(), []

    def gradient(batch):
        calls.append(batch)
        state.network.weight.grad = torch.ones(1, 2)
        if len(calls) == 2:
            raise torch.OutOfMemoryError
        return torch.tensor(0.0), torch.zeros(3, 1)

    with pytest.raises(torch.OutOfMemoryError):
        Ditto()(state, None, gradient, RoundContext())
    assert state.memory == {}


def test_a_negative_strength_is_refused():
    with pytest.raises(InputError, match="strength is -1"):
        Ditto(strength=-1.0).build()
