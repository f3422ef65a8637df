"""Weights by the distance to the mean model."""

from __future__ import annotations

import math

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.methods.weighting.closeness import Closeness, distances_to_mean
from tests.federation.methods.replies import a_reply, a_state

# The mean by cases is (2 * 1 + 1 * 4) / 3 = 2; distances 1 and 2, their mean 1.5.
REPLIES = [a_reply("a", (1.0, 0.0), cases=2), a_reply("b", (4.0, 0.0), cases=1)]


def test_distances_and_weights_by_hand():
    assert distances_to_mean(a_state(), REPLIES) == pytest.approx({"a": 1.0, "b": 2.0})
    found = Closeness(sharpness=3.0).weights(a_state(), REPLIES)
    assert found == pytest.approx({"a": 2 * math.exp(-2), "b": math.exp(-4)})


def test_sites_that_are_alike_and_a_sharpness_of_0_count_by_cases():
    alike = [a_reply("a", (1.0, 2.0), cases=2), a_reply("b", (1.0, 2.0), cases=5)]
    assert Closeness().weights(a_state(), alike) == {"a": 2.0, "b": 5.0}
    assert Closeness(sharpness=0).weights(a_state(), REPLIES) == {"a": 2.0, "b": 1.0}


def test_a_sharpness_out_of_range_is_refused():
    with pytest.raises(InputError, match="sharpness"):
        Closeness(sharpness=-1)
