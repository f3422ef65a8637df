"""Each line of the ledger says what a message answers: run, phase, round, iterations, digests."""

from __future__ import annotations

import hashlib

from fednnunet.federation.site.ledger import read
from fednnunet.federation.site.wall import LEDGER
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
