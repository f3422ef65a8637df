"""Losses as fair methods weight them."""

from __future__ import annotations

import math

import pytest

from fednnunet.errors import ReplyError
from fednnunet.federation.methods.fair_losses import shifted_loss, stated_loss
from tests.federation.methods.replies import a_reply


@pytest.mark.parametrize(("loss", "shifted"), [(0.25, 1.25), (-1.0, 0.0), (-0.75, 0.25), (-3, 0)])
def test_a_loss_is_shifted_and_never_negative(loss, shifted):
    assert shifted_loss(a_reply("a", (0.0, 0.0), loss=loss)) == shifted


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_refused_with_its_site(loss):
    with pytest.raises(ReplyError, match="weights sites by it") as caught:
        shifted_loss(a_reply("berlin", (0.0, 0.0), loss=loss))
    assert caught.value.where == "reply of site berlin"


def test_a_loss_that_is_not_stated_is_refused_with_what_the_method_needs():
    with pytest.raises(ReplyError, match="states no loss, since too few") as caught:
        shifted_loss(a_reply("berlin", (0.0, 0.0), loss=None))
    assert caught.value.where == "reply of site berlin"
    assert "more iterations" in caught.value.mend and "qfedavg_dice" in caught.value.mend


def test_a_loss_that_says_nothing_is_no_statement():
    assert stated_loss(a_reply("a", (0.0, 0.0), loss=0.25)) == 1.25
    for silent in ({"loss": None}, {"loss": math.nan}, {"loss": 0.0, "labelled": False}):
        assert stated_loss(a_reply("a", (0.0, 0.0), **silent)) is None
