"""The list of every message that left a site."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from fednnunet.federation.site import ledger


def test_an_entry_says_what_left_and_how_much(tmp_path):
    path = tmp_path / "north" / "ledger.jsonl"
    ledger.record(path, kind="TrainReply", words="weights", data=b"12345", detail="round 3")
    ledger.record(path, kind="FaultReply", words="a fault", data=b"")
    one, two = ledger.read(path)
    assert datetime.fromisoformat(str(one.pop("time"))).tzinfo == UTC
    assert one == {
        "message": "TrainReply",
        "what": "weights",
        "detail": "round 3",
        "bytes": 5,
        "sha256": hashlib.sha256(b"12345").hexdigest(),
    }
    assert (two["message"], two["bytes"], two["detail"]) == ("FaultReply", 0, "")


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger.record(path, kind="A", words="a", data=b"")
    with path.open("a") as stream:
        stream.write('{"time": "2024')
    assert [entry["message"] for entry in ledger.read(path)] == ["A"]


def test_without_a_file_nothing_left(tmp_path):
    assert ledger.read(tmp_path / "ledger.jsonl") == ()


def test_what_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(OSError, match="directory"):
        ledger.record(tmp_path / "ledger.jsonl", kind="A", words="a", data=b"")
