from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch

from fednnunet.federation.filters.filter import FilterContext


def a_context() -> FilterContext:
    received = {"w": torch.ones(2)}
    return FilterContext(site="a", run="", round=0, phase="joint", received=received)


def test_every_context_begins_with_an_empty_memory_of_its_own():
    one, other = a_context(), a_context()
    one.memory["residual"] = torch.zeros(2)
    assert other.memory == {}


def test_a_filter_cannot_change_the_round_that_it_sees():
    with pytest.raises(FrozenInstanceError):
        a_context().round = 1
