"""What filters see of a round, for their tests."""

from __future__ import annotations

import torch

from fednnunet.federation.filters.filter import FilterContext

CONV = "encoder.0.blocks.0.conv.weight"
NORM = "encoder.0.blocks.0.norm.weight"
RECEIVED = {
    CONV: torch.randn(6, 5, 3, 3, 3, generator=torch.Generator().manual_seed(0)),
    NORM: torch.ones(6),
    "count": torch.tensor(3),
    "extras/control": torch.ones(4, 4),
}


def a_context(**changes) -> FilterContext:
    values: dict = {"site": "a", "run": "", "round": 0, "phase": "joint", "received": RECEIVED}
    return FilterContext(**{**values, **changes})


def trained(step: float = 0.01):
    noise = torch.randn(RECEIVED[CONV].shape, generator=torch.Generator().manual_seed(1))
    return {**RECEIVED, CONV: RECEIVED[CONV] + step * noise, NORM: RECEIVED[NORM] + step}
