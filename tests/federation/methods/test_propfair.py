"""PropFair: weights by what is left to the highest loss."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.methods.propfair import PropFair, Proportional
from tests.contracts.helpers import weights_of
from tests.federation.methods.replies import a_reply


def test_propfair_weighs_by_what_is_left_to_the_worst_loss():
    replies = [a_reply("a", (0.0, 0.0), cases=4, loss=0.0), a_reply("b", (0.0, 0.0), loss=2.0)]
    assert weights_of(Proportional(max_loss=5.0, min_utility=0.2), replies) == pytest.approx(
        {"a": 4 / (5 - 1), "b": 1 / (5 - 3)}
    )
    far = weights_of(
        Proportional(max_loss=5.0, min_utility=0.2), [a_reply("a", (0.0, 0.0), loss=100.0)]
    )
    assert far == pytest.approx({"a": 1 / 0.2})


@pytest.mark.parametrize("settings", [PropFair(min_utility=0.0), PropFair(max_loss=0.1)])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match="min_utility is"):
        settings.build()
