"""Ditto's two updates against the paper's, written out; the personal model; what stays."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.ditto import PRIVATE, Ditto
from fednnunet.training import recipe
from fednnunet.training.local_rule import RoundContext
from tests.federation.methods.toy import (
    PLAIN,
    RATE,
    TARGETS,
    a_state,
    iterate,
    keeps_nothing_of_a_failure,
)

STRENGTH = 0.5


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setitem(recipe.RECIPES, "plain", PLAIN)


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
    keeps_nothing_of_a_failure(Ditto())


def test_a_negative_strength_is_refused():
    with pytest.raises(InputError, match="strength is -1"):
        Ditto(strength=-1.0).build()
