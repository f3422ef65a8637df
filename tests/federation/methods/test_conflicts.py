"""Opposing components of updates, by hand."""

from __future__ import annotations

import pytest
import torch

from fednnunet.federation.methods.conflicts import add_updates, without_conflicts
from fednnunet.federation.methods.merge import State
from fednnunet.federation.methods.merging import Merging
from fednnunet.federation.methods.site_mean import SiteMean
from tests.contracts.helpers import merged
from tests.federation.methods.replies import NAME, a_reply, a_state

# a . b = -1; a loses (-1 / 2) b, so a' = (0.5, 0.5); b loses (-1 / 1) a, so b' = (0, 1).
A, B = a_reply("a", (1.0, 0.0)), a_reply("b", (-1.0, 1.0))
DROP = SiteMean(merging=Merging(conflicts="drop"))


def test_two_sites_that_oppose_each_other_by_hand():
    factors = without_conflicts(a_state(), [A, B], {"a": 1.0, "b": 1.0})
    # a' = a + b / 2 and b' = b + a, so a counts (1 + 1) / 2 - 1 / 2 more, b (0.5 + 1) / 2 - 1 / 2.
    assert factors == pytest.approx({"a": 0.5, "b": 0.25})
    found = merged(DROP, a_state(), [A, B]).shared[NAME]
    assert found.tolist() == pytest.approx([0.25, 0.75])


def test_weights_count_and_the_order_of_replies_does_not():
    heavy = a_reply("b", (-1.0, 1.0), cases=3)
    found = [merged(DROP, a_state(), order).shared[NAME] for order in ([A, heavy], [heavy, A])]
    assert found[0].equal(found[1])
    assert found[0].tolist() == pytest.approx([(0.5 + 3 * 0.0) / 4, (0.5 + 3 * 1.0) / 4])


def test_without_a_conflict_it_is_the_plain_mean_bit_for_bit():
    others = [a_reply("a", (0.1, 0.3), cases=2), a_reply("b", (0.7, 0.2), cases=5)]
    assert without_conflicts(a_state(), others, {"a": 2.0, "b": 5.0}) == {}
    plain = merged(SiteMean(), a_state(), others).shared[NAME]
    assert merged(DROP, a_state(), others).shared[NAME].equal(plain)


def test_updates_are_from_what_each_site_received_and_counters_stay():
    name = "encoder.0.norm.num_batches_tracked"
    state = State(round=0, shared={NAME: torch.zeros(2), name: torch.tensor(3)})
    state = State(round=0, shared=state.shared, for_site={"a": {NAME: torch.ones(2)}})
    found = add_updates({NAME: torch.zeros(2), name: torch.tensor(4)}, state, [A, B], {"a": 2.0})
    assert found[NAME].tolist() == [0.0, -2.0] and found[name] == 4
