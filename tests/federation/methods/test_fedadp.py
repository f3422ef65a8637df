"""FedAdp: weights by agreement in direction."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedadp import ByAngle, FedAdp
from tests.contracts.helpers import merged
from tests.federation.methods.replies import NAME, a_reply, a_state

MERGE = FedAdp().build().merge


def test_fedadp_is_its_formula():
    replies = [a_reply("a", (1.0, 0.0), cases=3), a_reply("b", (0.0, 1.0), cases=1)]
    after = merged(MERGE, a_state(), replies)
    # The mean by cases is (3, 1) / 4, at angles atan(1/3) to a and atan(3) to b.
    angles = {"a": math.atan2(1, 3), "b": math.atan2(3, 1)}
    gain = {s: 5 * (1 - math.exp(-math.exp(-5 * (a - 1)))) for s, a in angles.items()}
    weights = {"a": 3 * math.exp(gain["a"]), "b": 1 * math.exp(gain["b"])}
    share = weights["a"] / sum(weights.values())
    torch.testing.assert_close(after.shared[NAME], torch.tensor([share, 1 - share]))
    for site, angle in angles.items():
        assert after.memory[f"angle/{site}"].tolist() == pytest.approx([angle, 1.0])


def test_fedadp_takes_the_mean_angle_over_the_rounds_of_a_site():
    state = a_state()
    both = [a_reply("a", (1.0, 0.0)), a_reply("b", (0.0, 1.0))]
    state = merged(MERGE, state, both)
    alone = merged(MERGE, replace(state, shared={NAME: torch.zeros(2)}), both[:1])
    assert alone.memory["angle/a"].tolist() == pytest.approx([math.pi / 8, 2.0])
    assert alone.memory["angle/b"].tolist() == pytest.approx([math.pi / 4, 1.0])


def test_fedadp_falls_from_its_slope_to_nothing():
    gains = [ByAngle(slope=5.0).gain(angle) for angle in (0.0, 0.5, 1.0, 2.0, math.pi)]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] == pytest.approx(5.0)
    assert gains[-1] == pytest.approx(0.0, abs=1e-3)


def test_a_slope_of_zero_is_refused():
    with pytest.raises(InputError, match="slope is 0"):
        FedAdp(slope=0.0).build()
