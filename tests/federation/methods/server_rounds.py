"""Rounds of a server optimiser, ours and torch's on the same updates."""

from __future__ import annotations

import torch

from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.server_step import Optimiser, ServerStep
from tests.contracts.helpers import merged

ROUNDS = 6
CASES = (5, 11)


def sent(number: int, x: torch.Tensor) -> list[Reply]:
    """Two sites' replies, each off `x` by changes of its own in every round."""
    generator = torch.Generator().manual_seed(number)
    changes = [torch.randn(7, generator=generator, dtype=torch.float64) for _ in CASES]
    return [
        Reply(site=f"s{i}", tensors={"w": x + changes[i]}, cases=cases, loss=1.0)
        for i, cases in enumerate(CASES)
    ]


def ours(optimiser: Optimiser) -> torch.Tensor:
    merge = ServerStep(optimiser)
    state = State(round=0, shared={"w": torch.linspace(-1, 1, 7, dtype=torch.float64)})
    for number in range(ROUNDS):
        state = merged(merge, state, sent(number, state.shared["w"]))
    return state.shared["w"]


def theirs(make) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 7, dtype=torch.float64))
    optimiser = make([weight])
    for number in range(ROUNDS):
        replies = sent(number, weight.detach().clone())
        mean = sum(reply.tensors["w"] * reply.cases for reply in replies) / sum(CASES)
        weight.grad = weight.detach() - mean
        optimiser.step()
    return weight.detach()
