"""Gradient descent on f(w) = ||w - target||^2 / 2, for rules that are written out in the tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fednnunet.training.local_rule import LocalRule, RoundContext
from fednnunet.training.recipe import Recipe
from fednnunet.training.state import TrainingState

RATE = 0.1
PLAIN = Recipe(  # Nesterov's momentum must be above nothing, so that nearly nothing is taken
    name="plain",
    optimiser="sgd",
    learning_rate=RATE,
    schedule="polynomial",
    weight_decay=0.0,
    momentum=1e-12,
    clip=0.0,
)
TARGETS = [torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 3.0]]), torch.tensor([[-1.0, 1.0]])]


def a_state() -> TrainingState:
    """A linear map of weights (1, 1) in the recipe `plain`, which a test puts into the table."""
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


def iterate(
    state: TrainingState, target: Tensor, rule: LocalRule, context: RoundContext | None = None
) -> tuple[Tensor, Tensor]:
    """One iteration with the rule, the optimiser's step on w included."""

    def gradient(batch: object) -> tuple[Tensor, Tensor]:
        state.optimiser.zero_grad()
        loss = (state.network.weight - target).square().sum() / 2
        loss.backward()
        return loss.detach(), torch.zeros(3, 1)

    measured = rule(state, None, gradient, context or RoundContext())  # type: ignore[arg-type]
    state.optimiser.step()
    return measured


def keeps_nothing_of_a_failure(rule: LocalRule) -> None:
    """Assert that an iteration whose second gradient fails changes neither weights nor memory."""
    state, calls = a_state(), 0

    def gradient(batch: object) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        state.network.weight.grad = torch.ones(1, 2)
        if calls == 2:
            raise torch.OutOfMemoryError
        return torch.tensor(0.0), torch.zeros(3, 1)

    try:
        rule(state, None, gradient, RoundContext())  # type: ignore[arg-type]
    except torch.OutOfMemoryError:
        assert state.memory == {}
        assert torch.equal(state.network.weight.detach(), torch.ones(1, 2))
    else:
        raise AssertionError("the failure was swallowed")
