"""The exchange folders: what waits for whom, and what is whole."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fednnunet.federation.engines.network.exchange import (
    Desk,
    Tray,
    Wanted,
    complete,
    is_digest,
)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path / "kit" / "exchange")
    found.clear()
    return found


@pytest.fixture
def tray(tmp_path: Path) -> Tray:
    return Tray(tmp_path / "exchange")


def receive(tray: Tray, data: bytes, *, time_ns: int) -> str:
    """Have an invite arrive whole, at a time."""
    question = digest(data)
    part = tray.part(question)
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(data)
    complete(part, tray.invite(question))
    os.utime(tray.invite(question), ns=(time_ns, time_ns))
    return question


def test_an_invite_is_wanted_until_its_reply_is_whole(desk: Desk) -> None:
    question = digest(b"invite")
    path = desk.put("a", question, b"invite", 100, None)
    wanted = Wanted(question=question, size=6, limit=100)
    assert desk.wanted("a") == (wanted,) and desk.wanted("b") == ()
    assert desk.invite("a", wanted) == path and path.read_bytes() == b"invite"
    part = desk.part("a", question)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"reply")
    assert desk.wanted("a") == (wanted,)
    complete(part, desk.reply("a", question))
    assert desk.wanted("a") == ()


def test_the_same_bytes_for_two_sites_are_on_the_disk_once(desk: Desk) -> None:
    question = digest(b"weights")
    first = desk.put("a", question, b"weights", 100, None)
    second = desk.put("b", question, b"weights", 100, first)
    assert first != second and first.samefile(second)
    desk.withdraw("a", question)
    assert second.read_bytes() == b"weights"


def test_an_invite_that_is_taken_back_leaves_nothing(desk: Desk) -> None:
    question = digest(b"x")
    desk.put("a", question, b"x", 100, None)
    for path in (desk.reply("a", question), desk.part("a", question)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"reply")
    desk.withdraw("a", question)
    assert not [path for path in desk.root.rglob("*") if path.is_file()]


def test_a_new_coordinator_forgets_messages_and_not_who_is_revoked(desk: Desk) -> None:
    desk.put("a", digest(b"x"), b"x", 100, None)
    desk.want(frozenset({"a", "b"}))
    desk.finished.touch()
    desk.revoked_list.write_text("c\nd")
    assert desk.awaited() == {"a", "b"}
    desk.clear()
    assert desk.wanted("a") == () and desk.awaited() == frozenset()
    assert not desk.finished.exists()
    assert desk.revoked() == {"c", "d"}


def test_a_site_that_asked_long_ago_takes_no_part(desk: Desk) -> None:
    for site in ("a", "b"):
        desk.touch(site)
    assert desk.alive() == {"a", "b"}
    os.utime(desk.root / "alive" / "b", (0, 0))
    assert desk.alive() == {"a"}
    desk.touch("b")
    assert desk.alive() == {"a", "b"}


def test_invites_wait_in_the_order_in_which_they_came(tray: Tray) -> None:
    questions = [receive(tray, data, time_ns=when) for data, when in ((b"2", 2), (b"1", 1))]
    assert tray.waiting() == tuple(reversed(questions))
    (tray.root / "in" / "note.txt").write_text("no invite")
    tray.put_reply(questions[1], b"reply")
    assert tray.waiting() == (questions[0],)
    assert tray.questions() == set(questions)


def test_an_invite_in_part_is_known_and_does_not_wait(tray: Tray) -> None:
    part = tray.part(digest(b"x"))
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x")
    assert tray.waiting() == () and tray.questions() == {digest(b"x")}
    tray.discard(digest(b"x"))
    assert tray.questions() == frozenset()


def test_a_problem_has_its_words_and_its_mend(tray: Tray) -> None:
    tray.report("what is wrong", mend="how to mend it")
    assert tray.problem.read_text().split("\n") == ["what is wrong", "how to mend it"]


def test_what_a_power_cut_may_have_spoilt_is_dropped(tray: Tray) -> None:
    """Nothing in a tray waits for the disk: a name may stand there for other bytes, or for none."""
    whole, spoilt, part = (digest(data) for data in (b"1", b"2", b"3"))
    for question in (receive(tray, b"1", time_ns=1), receive(tray, b"2", time_ns=2)):
        tray.put_reply(question, b"reply")
    tray.invite(spoilt).write_bytes(b"")
    tray.part(part).write_bytes(b"begun")
    tray.restart()
    assert tray.waiting() == (whole,)
    assert tray.questions() == {whole, part}
    assert not tray.reply(whole).exists()


def test_the_coordinators_staff_is_told_what_to_mend(desk: Desk) -> None:
    desk.report("what is wrong", mend="how to mend it")
    assert desk.problem.read_text() == "what is wrong\nhow to mend it"


@pytest.mark.parametrize("name", ["", "a" * 63, "a" * 65, "A" * 64, "a" * 64 + "\n", "../" * 21])
def test_only_a_digest_names_a_file(name: str) -> None:
    assert not is_digest(name)
    assert is_digest(digest(name.encode()))
