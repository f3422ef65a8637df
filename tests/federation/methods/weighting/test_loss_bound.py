"""Weights by the upper bound of the loss."""

from __future__ import annotations

import pytest

from fednnunet.federation.methods.weighting.loss_bound import LossBound
from fednnunet.federation.wire.figures import Figures
from tests.federation.methods.replies import a_reply, a_state


def reply(site, loss, spread, *, labelled=True):
    figures = Figures(loss_spread=spread)
    return a_reply(site, (0.0, 0.0), cases=3, loss=loss, figures=figures, labelled=labelled)


def weights(*replies):
    return LossBound().weights(a_state(), replies)


def test_weights_by_hand_with_the_loss_shifted():
    # Losses -0.5 and 0 are 0.5 and 1 above the least; bounds 0.5 + 0.98 and 1.
    found = weights(reply("a", -0.5, 0.5), reply("b", 0.0, 0.0))
    assert found == pytest.approx({"a": 3 / 1.48, "b": 3 / 1.0})


def test_who_states_nothing_or_has_no_labels_counts_with_the_largest_bound():
    known = reply("a", -0.5, 0.5), reply("b", 0.0, 0.0)
    others = reply("c", None, 0.1), reply("d", 0.0, None), reply("e", 0.0, 0.0, labelled=False)
    found = weights(*known, *others)
    assert found["c"] == found["d"] == found["e"] == found["a"] < found["b"]
    assert weights(*others) == {"c": 3.0, "d": 3.0, "e": 3.0}


def test_a_loss_that_cannot_be_lower_has_a_finite_weight():
    assert weights(reply("a", -1.0, 0.0)) == {"a": pytest.approx(3000.0)}
