"""APFL's three updates against the paper's, written out; the mixture; what stays at the site."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.apfl import Mixed, Mixing
from fednnunet.federation.wire.messages import EvaluateInvite, pack
from fednnunet.training import recipe
from fednnunet.training.initial import initial_tensors
from tests.contracts.helpers import an_invite
from tests.federation.methods.toy import (
    PLAIN,
    RATE,
    TARGETS,
    a_state,
    iterate,
    keeps_nothing_of_a_failure,
)
from tests.federation.site_fakes import CONFIGURATION, ROUNDS, a_trainer
from tests.training.fakes import small_plan

START = 0.3


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setitem(recipe.RECIPES, "plain", PLAIN)


def test_all_three_move_as_in_the_paper(plain):
    state, rule = a_state(), Mixing(alpha=START)
    w = v = torch.tensor([[1.0, 1.0]])
    alpha = START
    for target in TARGETS:
        loss, _ = iterate(state, target, rule)
        assert float(loss) == pytest.approx(float((w - target).square().sum() / 2))
        g = alpha * v + (1 - alpha) * w - target
        change = float(((v - w) * g).sum())
        w, v, alpha = w - RATE * (w - target), v - RATE * alpha * g, alpha - RATE * change
        torch.testing.assert_close(state.network.weight.detach(), w)
        torch.testing.assert_close(state.memory["apfl/own/weight"], v)
        assert float(state.memory["apfl/alpha"]) == pytest.approx(alpha)
    assert alpha != START
    own = Mixed().model({"weight": w}, state.memory)
    torch.testing.assert_close(own["weight"], alpha * v + (1 - alpha) * w)


def test_alpha_stays_between_nothing_and_all(plain):
    state = a_state()
    state.memory["apfl/own/weight"] = torch.tensor([[100.0, 1.0]])
    iterate(state, torch.tensor([[-50.0, 1.0]]), Mixing(alpha=START))
    assert float(state.memory["apfl/alpha"]) == 0
    state = a_state()
    state.memory["apfl/own/weight"] = torch.tensor([[100.0, 1.0]])
    iterate(state, torch.tensor([[150.0, 1.0]]), Mixing(alpha=START))
    assert float(state.memory["apfl/alpha"]) == 1


def test_nothing_is_kept_of_an_iteration_that_fails(plain):
    keeps_nothing_of_a_failure(Mixing(alpha=0.5))


def test_with_all_of_alpha_the_own_model_is_v_and_without_training_it_is_w():
    tensors = {"weight": torch.tensor([1.0]), "counter": torch.tensor(3)}
    memory = {"apfl/own/weight": torch.tensor([5.0]), "apfl/alpha": torch.tensor(1.0)}
    assert Mixed().model(tensors, memory)["weight"] == 5
    assert Mixed().model(tensors, memory)["counter"] == 3
    assert Mixed().model(tensors, {}) == tensors
    assert Mixed().update(SimpleNamespace()) is None


def test_an_alpha_out_of_range_is_refused():
    with pytest.raises(InputError, match="alpha is 0"):
        Mixing(alpha=0)


def rounds(folder, *, restart):
    trainer = a_trainer(folder, "one")
    shared = initial_tensors(small_plan()[0], CONFIGURATION, seed=0)
    replies = []
    for number in range(ROUNDS):
        replies.append(trainer.train(an_invite("apfl", shared, number)))
        shared = {name: tensor + 0.01 for name, tensor in replies[-1].tensors.items()}
        trainer = a_trainer(folder, "one") if restart else trainer
    return trainer, shared, replies


def test_the_personal_bundle_is_the_mixture_with_what_was_merged_last(tmp_path):
    trainer, _, _ = rounds(tmp_path, restart=False)
    merged = initial_tensors(small_plan()[0], CONFIGURATION, seed=5)
    invite = EvaluateInvite(tensors=merged, run="", method="apfl", round=ROUNDS, personal=True)
    bundle = trainer.bundle(invite)
    wanted = Mixed().model(merged, trainer.state_after(ROUNDS).memory)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in bundle.weights.items())
    assert any(not torch.equal(tensor, merged[name]) for name, tensor in bundle.weights.items())


def test_a_restart_changes_nothing_and_the_own_model_never_leaves(tmp_path):
    _, shared, replies = rounds(tmp_path / "a", restart=False)
    _, again, _ = rounds(tmp_path / "b", restart=True)
    assert all(torch.equal(tensor, again[name]) for name, tensor in shared.items())
    memory = []
    for part in "ab":
        memory.append(a_trainer(tmp_path / part, "one").state_after(ROUNDS).memory)
    first, second = memory
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    sent = pack(replies[-1])
    for name, tensor in first.items():
        assert tensor.numel() == 1 or tensor.numpy().tobytes() not in sent, name
