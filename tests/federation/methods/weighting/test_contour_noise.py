"""Weights by the quality of contours."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.methods.weighting.contour_noise import ContourNoise
from fednnunet.federation.wire.figures import Figures
from tests.federation.methods.replies import a_reply, a_state


def weights(noise, **settings):
    replies = [
        a_reply(site, (0.0, 0.0), cases=2, figures=Figures(contour_noise=value))
        for site, value in noise.items()
    ]
    return ContourNoise(**settings).weights(a_state(), replies)


def test_weights_by_hand_and_the_median_for_who_states_nothing():
    found = weights({"a": 0.2, "b": 0.5, "c": 1.0, "d": None}, sharpness=2.0)
    assert found == pytest.approx({"a": 1.28, "b": 0.5, "c": 2 * 0.01**2, "d": 0.5})


def test_without_any_statement_and_with_a_sharpness_of_0_cases_count():
    assert weights({"a": None, "b": None}) == {"a": 2.0, "b": 2.0}
    assert weights({"a": 0.9, "b": 0.1}, sharpness=0.0) == {"a": 2.0, "b": 2.0}


def test_a_sharpness_out_of_range_is_refused():
    with pytest.raises(InputError, match="sharpness"):
        ContourNoise(sharpness=-1)
