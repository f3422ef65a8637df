"""APFL's three updates against the paper's, written out; the mixture; what stays at the site."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fednnunet.errors import InputError
from fednnunet.federation.methods.apfl import Mixed, Mixing
from fednnunet.federation.wire.messages import EvaluateInvite, pack
from fednnunet.training import recipe
from fednnunet.training.initial import initial_tensors
from fednnunet.training.local_rule import RoundContext
from fednnunet.training.state import TrainingState
from tests.contracts.helpers import an_invite
from tests.federation.site_fakes import CONFIGURATION, ROUNDS, a_trainer
from tests.training.fakes import small_plan

RATE, START = 0.1, 0.3
PLAIN = recipe.Recipe(  # Nesterov's momentum must be above nothing, so that nearly nothing is taken
    name="plain",
    optimiser="sgd",
    learning_rate=RATE,
    schedule="polynomial",
    weight_decay=0.0,
    momentum=1e-12,
    clip=0.0,
)
TARGETS = [torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 3.0]]), torch.tensor([[-1.0, 1.0]])]


@pytest.fixture
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


def iterate(state, target, rule):
    """One iteration of f(w) = ||w - target||^2 / 2, the optimiser's step on w included."""

    def gradient(batch):
        state.optimiser.zero_grad()
        loss = (state.network.weight - target).square().sum() / 2
        loss.backward()
        return loss.detach(), torch.zeros(3, 1)

    measured = rule(state, None, gradient, RoundContext())
    state.optimiser.step()
    return measured


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
    state, calls = a_state(), []

    def gradient(batch):
        calls.append(batch)
        state.network.weight.grad = torch.ones(1, 2)
        if len(calls) == 2:
            raise torch.OutOfMemoryError
        return torch.tensor(0.0), torch.zeros(3, 1)

    with pytest.raises(torch.OutOfMemoryError):
        Mixing(alpha=0.5)(state, None, gradient, RoundContext())
    assert state.memory == {}
    assert torch.equal(state.network.weight.detach(), torch.ones(1, 2))


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
