"""Messages travel in pieces, whole or not at all, from where they stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fednnunet.federation.engines.network import carry
from fednnunet.federation.engines.network.carry import Carrier, answer
from fednnunet.federation.engines.network.exchange import Desk, Tray

VERSION = "1.0"


class Wire:
    """Calls from a site to a desk, which can be cut after a number of calls."""

    def __init__(self, desk: Desk, *, site: str = "a", version: str = VERSION) -> None:
        self.desk, self.site, self.version = desk, site, version
        self.left = 10**9
        self.kinds: list[str] = []

    def __call__(self, kind: str, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        self.kinds.append(kind)
        self.left -= 1
        return answer(self.desk, self.site, VERSION, kind, request) if self.left >= 0 else None


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path / "desk")
    found.clear()
    return found


@pytest.fixture
def wire(desk: Desk) -> Wire:
    return Wire(desk)


@pytest.fixture
def carrier(wire: Wire, tmp_path: Path) -> Carrier:
    return Carrier(tray=Tray(tmp_path / "tray"), call=wire, version=VERSION)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "PIECE", 10)


def lay_out(desk: Desk, data: bytes, *, site: str = "a", limit: int = 1000) -> str:
    question = hashlib.sha256(data).hexdigest()
    desk.put(site, question, data, limit, None)
    return question


def test_an_invite_and_its_reply_cross(desk: Desk, carrier: Carrier) -> None:
    question = lay_out(desk, b"invite" * 7)
    assert carrier.step()
    assert carrier.tray.waiting() == (question,)
    assert carrier.tray.invite(question).read_bytes() == b"invite" * 7
    carrier.tray.put_reply(question, b"reply" * 9)
    assert carrier.tray.waiting() == ()
    carrier.step()
    assert desk.reply("a", question).read_bytes() == b"reply" * 9
    carrier.step()  # nothing is wanted any more: the site forgets both
    assert carrier.tray.questions() == frozenset()


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_cut_costs_no_piece_twice(desk: Desk, wire: Wire, carrier: Carrier, calls: int) -> None:
    question = lay_out(desk, b"0123456789" * 3)
    wire.left = calls
    carrier.step()
    wire.left = 10**9
    carrier.step()
    assert carrier.tray.invite(question).read_bytes() == b"0123456789" * 3
    assert wire.kinds.count("invite") in (3, 4)  # the one that was cut off is asked again


def test_a_reply_goes_on_from_where_it_was_cut(desk: Desk, wire: Wire, carrier: Carrier) -> None:
    question = lay_out(desk, b"x")
    carrier.step()
    carrier.tray.put_reply(question, b"0123456789" * 3)
    wire.left = 3
    carrier.step()
    assert not desk.reply("a", question).exists()
    wire.left = 10**9
    carrier.step()
    assert desk.reply("a", question).read_bytes() == b"0123456789" * 3


def test_a_reply_that_is_too_large_is_not_taken(desk: Desk, carrier: Carrier) -> None:
    question = lay_out(desk, b"x", limit=20)
    carrier.step()
    carrier.tray.put_reply(question, b"0" * 21)
    carrier.step()
    assert not desk.reply("a", question).exists() and not desk.part("a", question).exists()


def test_a_reply_with_another_checksum_is_dropped(desk: Desk, wire: Wire) -> None:
    question = lay_out(desk, b"x")
    piece = {"question": question, "size": 4, "sha256": "0" * 64, "offset": 0, "data": b"1234"}
    assert wire("reply", {**piece, "version": VERSION}) == {"have": 0}
    assert not desk.reply("a", question).exists()


def test_a_site_reaches_its_own_invites_only(desk: Desk, tmp_path: Path) -> None:
    question = lay_out(desk, b"for a")
    other = Wire(desk, site="b")
    assert other("next", {"version": VERSION}) == {
        "wanted": [],
        "finished": False,
        "closing": False,
    }
    assert other("invite", {"version": VERSION, "question": question, "offset": 0}) == {
        "gone": True
    }
    piece = {"question": question, "size": 1, "sha256": "", "offset": 0, "data": b"1"}
    assert other("reply", {**piece, "version": VERSION}) == {"gone": True}


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "*", "a" * 64 + "/x"])
def test_names_that_lead_elsewhere_are_unknown(desk: Desk, name: str) -> None:
    lay_out(desk, b"x")
    found = answer(
        desk, "a", VERSION, "invite", {"version": VERSION, "question": name, "offset": 0}
    )
    assert found == {"gone": True}


def test_a_question_that_was_taken_back_is_forgotten(desk: Desk, carrier: Carrier) -> None:
    question = lay_out(desk, b"x")
    carrier.step()
    desk.withdraw("a", question)
    carrier.step()
    assert carrier.tray.questions() == frozenset()


def test_another_version_is_told_to_the_sites_staff(desk: Desk, tmp_path: Path) -> None:
    tray = Tray(tmp_path / "tray")
    carrier = Carrier(tray=tray, call=Wire(desk), version="0.9")
    carrier.step()
    assert "version 1.0" in tray.problem.read_text() and "0.9" in tray.problem.read_text()


def test_the_job_ends_when_another_is_to_follow_or_all_is_done(
    desk: Desk, carrier: Carrier
) -> None:
    assert carrier.step()
    desk.closing.touch()
    assert not carrier.step()
    assert not carrier.tray.finished.exists() and not desk.informed()
    desk.finished.touch()
    assert not carrier.step()
    assert carrier.tray.finished.exists() and desk.informed() == {"a"}


def test_a_revoked_site_is_given_nothing(desk: Desk, carrier: Carrier) -> None:
    question = lay_out(desk, b"x")
    desk.revoked_list.write_text("a")
    carrier.step()
    assert "admits this site no more" in carrier.tray.problem.read_text()
    assert not carrier.tray.invite(question).exists()


def test_a_full_disk_is_a_problem_of_the_sites_staff(
    desk: Desk, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(desk, b"x")
    monkeypatch.setattr(carry, "_SPARE", 2**60)
    carrier.step()
    assert "no room" in carrier.tray.problem.read_text()
    assert "free some space" in carrier.tray.problem.read_text()


def test_a_full_disk_of_the_coordinator_is_told_there_and_the_reply_waits(
    desk: Desk, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = lay_out(desk, b"x")
    carrier.step()
    carrier.tray.put_reply(question, b"reply")
    with monkeypatch.context() as patch:
        patch.setattr(carry, "_SPARE", 2**60)
        carrier.step()
    what, mend = desk.problem.read_text().splitlines()
    assert "no room for a reply of 5 bytes" in what and "run the same command again" in mend
    assert not desk.part("a", question).exists()
    assert carrier.tray.reply(question).exists()
    carrier.step()
    assert desk.reply("a", question).read_bytes() == b"reply"
