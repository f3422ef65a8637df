"""Heads first on a frozen body, then the body."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.methods.head_alternating import HeadAlternating
from fednnunet.training.local_rule import phase_lengths

NAMES = ("encoder.0.blocks.0.conv.weight", "decoder.0.up.weight", "heads.0.weight")


def test_a_round_trains_the_heads_and_then_the_body():
    phases = HeadAlternating(head_share=0.75).build().local_rule.phases
    (first, resting), (second, others) = phase_lengths(phases, 8, NAMES)
    assert (first, second) == (6, 2)
    assert resting == set(NAMES[:2]) and others == {NAMES[2]}


def test_the_heads_stay_at_the_site():
    method = HeadAlternating().build()
    assert [method.is_shared(name) for name in NAMES] == [True, True, False]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"private": ("norm",)}, "this method's heads stay at the site"),
        ({"head_share": 0.0}, "head_share is 0.0"),
        ({"head_share": 1.0}, "head_share is 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        HeadAlternating(**settings).build()
