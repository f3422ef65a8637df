"""The list of every message that left a site, and what each of them answers."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from fednnunet.federation.site import ledger
from fednnunet.federation.site.wall import LEDGER
from fednnunet.federation.wire import chain
from fednnunet.federation.wire.chain import read
from fednnunet.federation.wire.messages import TrainReply, pack, unpack
from tests.attacks.victim import ITERATIONS, a_victim


def test_a_reply_and_a_refusal_are_named_by_phase_round_and_digest(tmp_path):
    victim = a_victim(tmp_path).prepare()
    sent = [
        (invite, victim.site.answer(pack(invite)))
        for invite in (victim.invite(0), victim.invite(1, iterations=200), victim.invite(0))
    ]
    assert isinstance(unpack(sent[0][1], sender="north"), TrainReply)
    lines = read(victim.base / LEDGER)[-3:]
    for (invite, reply), line in zip(sent, lines, strict=True):
        assert line["bytes"] == len(reply)
        assert line["sha256"] == hashlib.sha256(reply).hexdigest()
        assert line["asked_sha256"] == hashlib.sha256(pack(invite)).hexdigest()
        asked = {key: line[key] for key in ("asked", "run", "phase", "round", "iterations")}
        assert asked == {
            "asked": "TrainInvite",
            "run": "",
            "phase": "joint",
            "round": invite.round,
            "iterations": invite.iterations,
        }
    assert [line["message"] for line in lines] == ["TrainReply", "FaultReply", "TrainReply"]
    assert (lines[1]["fault"], lines[1]["advice"]) == ("refusal", "as_agreed")
    assert "fault" not in lines[0] and lines[0]["iterations"] == ITERATIONS
    assert lines[0]["sha256"] == lines[2]["sha256"]


def test_what_cannot_be_read_has_its_digest(tmp_path):
    victim = a_victim(tmp_path)
    victim.site.answer(b"junk")
    (line,) = read(victim.base / LEDGER)
    assert line["asked_sha256"] == hashlib.sha256(b"junk").hexdigest()
    assert (line["message"], line["fault"], line["asked"]) == ("FaultReply", "message", "")


def test_an_entry_says_what_left_and_how_much(tmp_path):
    path = tmp_path / "north" / "ledger.jsonl"
    about = ledger.About(detail="round 3", run="", round=0)
    ledger.record(path, kind="TrainReply", words="weights", data=b"12345", about=about)
    ledger.record(path, kind="FaultReply", words="a fault", data=b"")
    one, two = chain.read(path)
    assert datetime.fromisoformat(str(one.pop("time"))).tzinfo == UTC
    assert (one.pop("number"), one.pop("before")) == (1, chain.FIRST)
    one.pop("signature", None)
    assert one == {
        "message": "TrainReply",
        "what": "weights",
        "bytes": 5,
        "sha256": hashlib.sha256(b"12345").hexdigest(),
        "detail": "round 3",
        "asked": "",
        "asked_sha256": "",
        "run": "",
        "round": 0,
    }
    assert (two["message"], two["bytes"], two["detail"]) == ("FaultReply", 0, "")
    assert "run" not in two and "fault" not in two


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger.record(path, kind="A", words="a", data=b"")
    with path.open("a") as stream:
        stream.write('{"time": "2024')
    assert [entry["message"] for entry in chain.read(path)] == ["A"]
    ledger.record(path, kind="B", words="b", data=b"")
    assert [entry["message"] for entry in chain.read(path)] == ["A", "B"]


def test_without_a_file_nothing_left(tmp_path):
    assert chain.read(tmp_path / "ledger.jsonl") == ()


def test_what_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(OSError, match="directory"):
        ledger.record(tmp_path / "ledger.jsonl", kind="A", words="a", data=b"")
