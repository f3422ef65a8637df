"""Replies are added as they come; those of sites that train alone are left out."""

from __future__ import annotations

import torch

from fednnunet.federation.coordinator.added_replies import AddedReplies
from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import State
from fednnunet.federation.wire.messages import TrainReply

START = State(round=3, shared={"w": torch.zeros(1)})


def reply(value: float, *, cases: int = 4, alone: bool = False) -> TrainReply:
    return TrainReply(
        tensors={"w": torch.tensor([value])}, run="", round=3, phase="joint", cases=cases,
        loss=0.0, seconds=1.0, wait_share=0.0, alone=alone,
    )  # fmt: skip


def test_replies_count_by_the_cases_that_are_said():
    add = AddedReplies(mean_by_cases.start(START), lambda r: r.cases - 3, keep=True)
    add("a", reply(1.0))
    add("b", reply(4.0, cases=5))
    assert add.finish(START).shared["w"].item() == 3.0  # (1 * 1 + 2 * 4) / 3
    assert [kept.site for kept in add.kept] == ["a", "b"]


def test_a_site_that_trains_alone_is_left_out():
    add = AddedReplies(mean_by_cases.start(START), lambda r: r.cases, keep=True)
    add("a", reply(1.0))
    add("b", reply(9.0, alone=True))
    assert add.finish(START).shared["w"].item() == 1.0
    assert [kept.site for kept in add.kept] == ["a"]


def test_who_may_not_leave_counts_whatever_it_says():
    add = AddedReplies(mean_by_cases.start(START), lambda r: r.cases, keep=False, may_leave=False)
    add("a", reply(1.0))
    add("b", reply(9.0, alone=True))
    assert add.finish(START).shared["w"].item() == 5.0


def test_without_any_reply_only_the_round_goes_on():
    add = AddedReplies(mean_by_cases.start(START), lambda r: r.cases, keep=False)
    add("b", reply(9.0, alone=True))
    state = add.finish(START)
    assert state.round == 4 and state.shared["w"].item() == 0.0
