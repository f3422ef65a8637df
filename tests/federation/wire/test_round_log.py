"""What messages say of the coordinator's log."""

from __future__ import annotations

import pytest

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.round_log import LogExtract, Merged, SeenHead


def test_a_head_is_signed_with_its_site_and_has_bounds():
    head = SeenHead(number=3, sha256="a" * 64)
    assert head.signed("north") != head.signed("south")
    for wrong in ({"number": 0}, {"sha256": "a" * 65}, {"signature": "b" * 129}):
        with pytest.raises(ReplyError):
            SeenHead(**{"number": 3, "sha256": "a" * 64, **wrong})
    with pytest.raises(ReplyError):
        LogExtract(lines=("",) * 100_001)


def test_a_site_with_weights_of_its_own_receives_these():
    merged = Merged(
        run="",
        round=0,
        phase="joint",
        replies={},
        refused=(),
        shared="s",
        extras="",
        for_site={"b": "own"},
    )
    assert (merged.received("a"), merged.received("b")) == ("s", "own")
