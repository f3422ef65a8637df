"""Weights by cases, and equal ones."""

from __future__ import annotations

from fednnunet.federation.methods.weighting.plain import Cases, Uniform
from tests.federation.methods.replies import a_reply, a_state

REPLIES = [a_reply("a", (0.0, 0.0), cases=2), a_reply("b", (0.0, 0.0), cases=6)]


def test_weights_by_hand():
    assert Cases().weights(a_state(), REPLIES) == {"a": 2.0, "b": 6.0}
    assert Uniform().weights(a_state(), REPLIES) == {"a": 1.0, "b": 1.0}
