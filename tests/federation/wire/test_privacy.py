"""What a site states of its privacy, in words."""

from __future__ import annotations

import pytest

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.privacy import Spent


def spent(**changes) -> Spent:
    values: dict = {"unit": "patient", "epsilon": 2.5, "total": 2.5, "delta": 1e-5, "rounds": 3}
    return Spent(**{**values, **changes})


def test_the_words_have_epsilon_delta_unit_and_rounds():
    assert spent().words == "epsilon 2.5 a patient at delta 1e-05, 3 rounds"
    assert "a change of the site's training cases" in spent(unit="site").words
    assert "(4 with all that has left the site)" in spent(total=4.0).words


def test_above_ten_there_is_no_formal_protection():
    assert "no formal protection" not in spent(epsilon=10.0, total=10.0).words
    assert spent(epsilon=10.1, total=10.1).words.endswith("no formal protection")


def test_without_a_figure_the_reason_is_given():
    words = spent(epsilon=None, total=None, gaps=("no_noise", "model_leaves")).words
    assert words.startswith("no epsilon: there is no noise; the site's own model may leave")


@pytest.mark.parametrize("changes", [{"epsilon": -1.0}, {"delta": 2.0}, {"rounds": -1}])
def test_figures_out_of_range_are_refused(changes):
    with pytest.raises(ReplyError):
        spent(**changes)
