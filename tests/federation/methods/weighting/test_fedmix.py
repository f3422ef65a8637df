"""Weights by cases and losses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.methods.weighting.fedmix import FedMix
from tests.federation.methods.replies import a_reply, a_state

# Losses are 1 and 3 above the least, and c states none.
A = a_reply("a", (0.0, 0.0), cases=1, loss=0.0)
B = a_reply("b", (0.0, 0.0), cases=2, loss=2.0)
C = a_reply("c", (0.0, 0.0), cases=1, loss=None)


def test_weights_by_hand():
    found = FedMix(strength=2.0, power=2.0, ramp_up=0.0).weights(a_state(), [A, B, C])
    assert found == pytest.approx({"a": 0.25 + 2 * 0.1, "b": 0.5 + 2 * 0.9, "c": 0.25})


@pytest.mark.parametrize(("number", "ramp"), [(0, math.exp(-5)), (1, math.exp(-5 / 4)), (2, 1.0)])
def test_the_losses_part_rises(number, ramp):
    state = replace(a_state(), round=number, rounds=4)
    found = FedMix(strength=1.0, power=1.0, ramp_up=0.5).weights(state, [A, B])
    assert found == pytest.approx({"a": 1 / 3 + ramp * 0.25, "b": 2 / 3 + ramp * 0.75})


def test_a_site_without_labels_and_losses_of_0_count_by_cases():
    unlabelled = replace(B, labelled=False)
    assert FedMix(ramp_up=0).weights(a_state(), [C, unlabelled]) == pytest.approx(
        {"c": 1 / 3, "b": 2 / 3}
    )
    least = replace(A, loss=-1.0)
    assert FedMix(ramp_up=0).weights(a_state(), [least]) == {"a": 1.0}


@pytest.mark.parametrize("bad", [{"strength": -1}, {"power": -1}, {"ramp_up": 2}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        FedMix(**bad)
