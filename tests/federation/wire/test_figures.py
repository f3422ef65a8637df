"""The figures in a reply are within their ranges."""

from __future__ import annotations

import pytest

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.figures import FIGURE_WORDS, Figures


def test_each_figure_has_words_for_the_ledger():
    assert FIGURE_WORDS.keys() == Figures.__dataclass_fields__.keys()


@pytest.mark.parametrize(
    "bad",
    [
        {"annotated_cases": (-1,)},
        {"annotated_cases": (1,) * 5000},
        {"loss_spread": -0.1},
        {"loss_spread": float("nan")},
        {"contour_noise": 1.1},
    ],
)
def test_a_figure_out_of_its_range_is_refused(bad):
    with pytest.raises(ReplyError, match=next(iter(bad))):
        Figures(**bad)
