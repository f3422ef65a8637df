"""The order of a chain, its memories, and what it does with a reply that makes no sense."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from fednnunet.errors import ReplyError
from fednnunet.federation.filters.chain import filter_at_coordinator, filter_at_site
from tests.federation.filters.test_delta_bfloat16 import a_context


@dataclass(frozen=True)
class Affine:
    """x -> factor * x + offset, which counts its calls in its memory."""

    factor: float
    offset: float
    words: str = "affine"

    def site(self, payload, context):
        context.memory["calls"] = context.memory.get("calls", torch.zeros(())) + 1
        return {name: self.factor * t + self.offset for name, t in payload.items()}

    def coordinator(self, payload, context):
        assert not context.memory
        return {name: (t - self.offset) / self.factor for name, t in payload.items()}


CHAIN = (Affine(2.0, 1.0), Affine(4.0, 0.0))
PAYLOAD = {"w": torch.arange(3.0)}


def test_the_coordinator_undoes_the_chain_from_its_end():
    sent = filter_at_site(CHAIN, PAYLOAD, a_context(), {})
    assert torch.equal(sent["w"], 4 * (2 * PAYLOAD["w"] + 1))
    back = filter_at_coordinator(CHAIN, sent, a_context())
    assert torch.equal(back["w"], PAYLOAD["w"])


def test_without_filters_the_payload_itself_is_sent():
    memory = {"method": torch.ones(1)}
    assert filter_at_site((), PAYLOAD, a_context(), memory) is PAYLOAD
    assert filter_at_coordinator((), PAYLOAD, a_context()) is PAYLOAD
    assert memory.keys() == {"method"}


def test_each_filter_has_a_memory_of_its_own_and_the_methods_is_left_alone():
    memory = {"method": torch.ones(1)}
    for _ in range(2):
        filter_at_site(CHAIN, PAYLOAD, a_context(), memory)
    assert memory.keys() == {"method", "filters/0/calls", "filters/1/calls"}
    assert float(memory["filters/0/calls"]) == 2


def test_a_payload_that_breaks_a_filter_is_a_fault_of_the_reply():
    class Broken(Affine):
        def coordinator(self, payload, context):
            return {"w": payload["secret case name"]}

    with pytest.raises(ReplyError, match="coordinator half: KeyError") as caught:
        filter_at_coordinator((Broken(1.0, 0.0),), PAYLOAD, a_context())
    assert caught.value.where == "reply of site a" and "secret" not in str(caught.value)
