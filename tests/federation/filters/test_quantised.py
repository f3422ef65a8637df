"""Changes in a few bits: what travels, what the coordinator gets, and what is refused."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import ReplyError
from fednnunet.federation.filters.change import compressed, to_bytes
from fednnunet.federation.filters.quantised import Quantised, decode, encode
from tests.federation.filters.contexts import CONV, NORM, RECEIVED, a_context, trained

CHANGE = trained()[CONV] - RECEIVED[CONV]


@pytest.mark.parametrize(("bits", "lost"), [(8, 0.01), (4, 0.16), (2, 0.6)])
def test_a_change_comes_back_as_exactly_as_its_bits_allow(bits, lost):
    one = Quantised(bits=bits)
    sent = one.site(trained(), a_context())
    assert sent[NORM] is not None and torch.equal(sent[NORM], trained()[NORM])
    assert sent[CONV].dtype == torch.uint8
    assert len(sent[CONV]) < CHANGE.numel() * bits / 8 + 4 * len(CHANGE) + 64
    back = one.coordinator(sent, a_context())[CONV]
    assert back.dtype == torch.float32
    error = (back - trained()[CONV]).norm() / CHANGE.norm()
    assert 0 < float(error) < lost


def test_two_bits_by_hand():
    # Of the scales 1, 0.8, 0.6, 0.45, ... of the largest change, 0.8 loses least in the first row.
    change = torch.tensor([[1.0, 0.7, -0.7, 0.0], [0.0, 0.0, 0.0, 0.0]])
    back = decode(encode(change, bits=2), change, bits=2)
    torch.testing.assert_close(back, torch.tensor([[0.8, 0.8, -0.8, 0.0], [0.0] * 4]))


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_every_number_of_weights_is_packed(bits, size):
    change = torch.linspace(-1, 1, size).sign().reshape(1, size)  # the largest values are exact
    assert torch.equal(decode(encode(change, bits=bits), change, bits=bits), change)


def test_what_rounding_loses_is_sent_later():
    """Over many rounds of the same change the sum of what is sent has the error of one round."""
    errors = {}
    for feedback in (True, False):
        one, memory, total = (
            Quantised(bits=2, error_feedback=feedback),
            {},
            torch.zeros(CHANGE.shape),
        )
        for number in range(24):
            context = a_context(memory=memory, round=number)
            total += (
                one.coordinator(one.site(trained(), context), a_context())[CONV] - RECEIVED[CONV]
            )
        errors[feedback] = float((total / 24 - CHANGE).norm() / CHANGE.norm())
        assert bool(memory) == feedback
    assert errors[True] < 0.15 < errors[False]


def test_random_rounding_keeps_the_mean_and_repeats_itself():
    one = Quantised(bits=4, stochastic=True, error_feedback=False)
    first = one.site(trained(), a_context())[CONV]
    assert torch.equal(first, one.site(trained(), a_context())[CONV])
    found = [
        one.coordinator(one.site(trained(), a_context(round=n)), a_context())[CONV] - RECEIVED[CONV]
        for n in range(100)
    ]
    inner = CHANGE.abs() < 0.4 * CHANGE.abs().amax((1, 2, 3, 4), keepdim=True)  # not cut off
    bias = (torch.stack(found).mean(0) - CHANGE)[inner].abs().mean() / CHANGE[inner].abs().mean()
    nearest = Quantised(bits=4).site(trained(), a_context())
    once = (Quantised(bits=4).coordinator(nearest, a_context())[CONV] - RECEIVED[CONV] - CHANGE)[
        inner
    ]
    assert float(bias) < 0.5 * float(once.abs().mean() / CHANGE[inner].abs().mean())
    assert not torch.equal(found[0], found[1])


def _code(scale, values):
    scales = torch.full((6,), scale)
    return compressed(to_bytes(scales) + to_bytes(torch.full((810,), values, dtype=torch.uint8)))


@pytest.mark.parametrize(
    ("scale", "value", "words"),
    [(-1.0, 1, "negative"), (float("nan"), 1, "finite"), (1.0, 255, "fit into 8 bits")],
)
def test_what_the_site_half_cannot_have_made_is_refused(scale, value, words):
    with pytest.raises(ReplyError, match=words):
        Quantised().coordinator({CONV: _code(scale, value)}, a_context())
