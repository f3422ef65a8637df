"""The weighted mean of the replies, by hand."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import ReplyError
from fednnunet.federation.methods.mean import MeanBy, by_cases, mean_by_cases, uniform
from fednnunet.federation.methods.merge import State
from tests.contracts.helpers import merged, weights_of
from tests.federation.methods.replies import NAME, a_reply, a_state

REPLIES = [a_reply("a", (1.0, 4.0), cases=1), a_reply("b", (5.0, 0.0), cases=3)]


def test_weights_by_hand():
    assert weights_of(by_cases, REPLIES) == {"a": 1.0, "b": 3.0}
    assert weights_of(uniform, REPLIES) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize(("weight", "mean"), [(by_cases, [4.0, 1.0]), (uniform, [3.0, 2.0])])
def test_the_mean_by_hand(weight, mean):
    state = merged(MeanBy(weight), a_state(), REPLIES)
    assert state.shared[NAME].tolist() == mean
    assert state.round == 1


def test_the_rest_of_the_state_is_carried_on():
    begin = State(round=4, rounds=9, shared=a_state().shared, memory={"m": torch.ones(1)})
    state = merged(mean_by_cases, begin, REPLIES)
    assert (state.round, state.rounds, state.memory) == (5, 9, begin.memory)


def test_weights_that_sum_to_nothing_are_refused():
    with pytest.raises(ReplyError):
        merged(MeanBy(lambda reply: 0.0), a_state(), REPLIES)


def test_a_reply_that_is_refused_is_not_in_the_mean():
    def own(reply):
        if reply.site == "a":
            raise ReplyError("no", mend="leave the site out of it")
        return 1.0

    aggregation = MeanBy(own).start(a_state())
    with pytest.raises(ReplyError):
        aggregation.add(REPLIES[0])
    aggregation.add(REPLIES[1])
    assert aggregation.finish().shared[NAME].tolist() == [5.0, 0.0]
