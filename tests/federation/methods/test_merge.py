"""Replies and states, and the aggregations that merges are made of."""

from __future__ import annotations

from dataclasses import replace

import torch

from fednnunet.federation.methods.mean import MeanAggregation, by_cases
from fednnunet.federation.methods.merge import Collected, Followed, State, Streamed
from tests.federation.methods.replies import NAME, a_reply, a_state


def test_a_site_receives_its_own_tensors_or_what_is_shared():
    own, shared = {"w": torch.ones(1)}, {"w": torch.zeros(1)}
    state = State(round=1, shared=shared, for_site={"a": own})
    assert state.received("a") is own and state.received("b") is shared


def test_collected_replies_are_sorted_by_site():
    def merge(state, replies):
        names.extend(reply.site for reply in replies)
        return replace(state, round=state.round + 1)

    names: list[str] = []
    aggregation = Collected(a_state(), merge)
    for site in ("b", "c", "a"):
        aggregation.add(a_reply(site, (0.0, 0.0)))
    assert aggregation.finish().round == 1
    assert names == ["a", "b", "c"]


def test_what_follows_sees_the_merged_state():
    def double(state):
        return replace(state, shared={NAME: 2 * state.shared[NAME]})

    aggregation = Followed(MeanAggregation(a_state(), by_cases), double)
    aggregation.add(a_reply("a", (1.0, 3.0)))
    assert aggregation.finish().shared[NAME].tolist() == [2.0, 6.0]


def test_a_streamed_merge_begins_from_the_state_and_finds_out_nothing():
    merge = Streamed(lambda state: MeanAggregation(state, by_cases))
    assert (merge.needs, merge.keeps_equal_sites) == ("sum", False)
    assert merge.artefacts(a_state()) == {}
    one, two = merge.start(a_state()), merge.start(a_state())
    one.add(a_reply("a", (1.0, 1.0)))
    two.add(a_reply("a", (3.0, 3.0)))
    assert one.finish().shared[NAME].tolist() == [1.0, 1.0]
