"""Only the largest changes travel: which, how, and what is refused."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError, ReplyError
from fednnunet.federation.filters.change import compressed, to_bytes
from fednnunet.federation.filters.top_k import TopK
from tests.federation.filters.contexts import CONV, NORM, RECEIVED, a_context, trained

CHANGE = trained()[CONV] - RECEIVED[CONV]


def sent_back(one, context=None):
    return one.coordinator(one.site(trained(), context or a_context()), a_context())


@pytest.mark.parametrize("share", [1e-6, 0.05, 0.5, 1.0])
def test_the_largest_changes_are_added_and_the_others_wait(share):
    back = sent_back(TopK(share=share))
    moved = back[CONV] - RECEIVED[CONV]
    count = max(1, -(-int(share * 1e6) * CHANGE.numel() // 10**6))
    assert int((moved != 0).sum()) == count
    assert CHANGE[moved != 0].abs().min() >= CHANGE[moved == 0].abs().max() if share < 1 else True
    torch.testing.assert_close(moved[moved != 0], CHANGE[moved != 0], rtol=2**-7, atol=1e-6)
    assert torch.equal(back[NORM], trained()[NORM])


def test_few_bytes_travel():
    code = TopK(share=0.05).site(trained(), a_context())[CONV]
    assert len(code) < 0.05 * CHANGE.numel() * 6 + 64 < CHANGE.numel()


def test_what_was_not_sent_is_sent_later():
    one, memory, total = TopK(share=0.1), {}, torch.zeros(CHANGE.shape)
    for number in range(30):
        total += sent_back(one, a_context(memory=memory, round=number))[CONV] - RECEIVED[CONV]
    assert (total / 30 - CHANGE).norm() < 0.25 * CHANGE.norm()
    assert memory.keys() == {CONV}
    without: dict = {}
    TopK(error_feedback=False).site(trained(), a_context(memory=without))
    assert not without


def _code(places, value):
    gaps = torch.diff(torch.tensor(places), prepend=torch.zeros(1, dtype=torch.int64))
    values = torch.full((len(places),), value, dtype=torch.bfloat16)
    return compressed(to_bytes(gaps.to(torch.int32)) + to_bytes(values))


@pytest.mark.parametrize(
    ("places", "value", "words"),
    [
        ((0, 0), 1.0, "in order"),
        ((5, 3), 1.0, "in order"),
        ((-1, 3), 1.0, "in order"),
        ((1, 810), 1.0, "beyond"),
        ((1, 2), float("inf"), "not finite"),
        ((1, 2, 3), 1.0, "bytes of data"),
    ],
)
def test_what_the_site_half_cannot_have_made_is_refused(places, value, words):
    with pytest.raises(ReplyError, match=words):
        TopK(share=2 / 810).coordinator({CONV: _code(places, value)}, a_context())


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(InputError, match="share"):
        TopK(share=share)
