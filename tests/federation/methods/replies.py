"""Replies of one small tensor, for tests of merges."""

from __future__ import annotations

import torch

from fednnunet.federation.methods.merge import Reply, State

NAME = "encoder.0.blocks.0.conv.weight"


def a_reply(site: str, change: tuple[float, float], *, cases: int = 1, **settings) -> Reply:
    values = {"loss": 0.0, **settings}
    return Reply(site=site, tensors={NAME: torch.tensor(change)}, cases=cases, **values)


def a_state() -> State:
    return State(round=0, shared={NAME: torch.zeros(2)})
