"""What the lines of a coordinator's log say."""

from __future__ import annotations

import pytest

from fednnunet import records
from fednnunet.errors import ReplyError
from fednnunet.federation.wire.chain import canonical
from fednnunet.federation.wire.log_lines import LogLines
from fednnunet.federation.wire.round_log import INVITED, MERGED, Invited, Merged


def a_line(number, kind, entry):
    return canonical({"number": number, "kind": kind, "about": records.encode(entry)})


def invited(**changes):
    return Invited(**{"run": "", "round": 0, "phase": "joint", "invites": {"a": "x"}, **changes})


def merged(shared):
    return Merged(
        run="",
        round=0,
        phase="joint",
        replies={"a": "r"},
        refused=(),
        shared=shared,
        extras="",
    )


def test_of_a_round_that_was_asked_again_the_last_entry_counts():
    log = LogLines(
        (
            a_line(4, INVITED, invited(invites={"a": "first"})),
            a_line(5, MERGED, merged("lost")),
            a_line(6, INVITED, invited()),
            a_line(7, MERGED, merged("kept")),
            a_line(8, INVITED, invited(round=1)),
            canonical({"number": 9, "kind": "of a later version"}),
        )
    )
    assert log.merged["", 0].shared == "kept" and log.asked["", 0].invites == {"a": "x"}
    assert log.invited == {("", 0): 4, ("", 1): 8}
    assert log.last is None and log.last_number == 9
    assert log.line(5) == log.lines[1] and log.line(3) is None and log.line(10) is None


def test_an_entry_that_cannot_be_read_is_named():
    log = LogLines((canonical({"number": 2, "kind": INVITED, "about": {"run": 3}}),))
    with pytest.raises(ReplyError, match="line 2 of the coordinator's log cannot be read"):
        assert log.merged
