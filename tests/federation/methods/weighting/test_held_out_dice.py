"""Weights by the Dice of held-out patches."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.methods.weighting.held_out_dice import HeldOutDice
from tests.federation.methods.replies import a_reply, a_state


def weights(*held_out, **settings):
    replies = [
        a_reply(site, (0.0, 0.0), cases=2, held_out=rows)
        for site, rows in zip("abc", held_out, strict=False)
    ]
    return HeldOutDice(**settings).weights(a_state(), replies)


def test_weights_by_hand():
    # Dice 2 * 3 / (6 + 1 + 1) = 0.75 and 0.25, of which the mean is 0.5; b has 0 in its target.
    found = weights(((3, 1, 1), (1, 3, 3), (0, 0, 0)), ((0, 5, 0),), power=2.0)
    assert found == pytest.approx({"a": 2 * 0.5**2, "b": 2 * 0.01**2})


def test_a_site_that_states_nothing_counts_with_the_mean_of_the_others():
    found = weights(((1, 0, 0),), ((1, 2, 2),), ())
    assert found == pytest.approx({"a": 2 * 1.0, "b": 2 / 3, "c": 2 * (1 + 1 / 3) / 2})
    assert weights((), ()) == {"a": 2.0, "b": 2.0}


def test_a_power_out_of_range_is_refused():
    with pytest.raises(InputError, match="power"):
        HeldOutDice(power=-1)
