"""The network engine over folders, with a site in a thread: deadlines, limits, no wait for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.coordinator.engine import Deadline
from fednnunet.federation.engines.network.engine import NetworkEngine
from fednnunet.federation.engines.network.exchange import FOLDER, Desk
from fednnunet.federation.wire.messages import (
    FingerprintReply,
    ProbeReply,
    ShapesInvite,
    pack,
    sums,
    unpack,
)
from fednnunet.files import write_text

INVITE = ShapesInvite(spacing_mm=(1.0, 1.0, 1.0))
REPLY = pack(ProbeReply(dice_loss=0.5))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path / FOLDER)
    found.clear()
    return found


def answering(desk: Desk, *sites: str, reply: bytes = REPLY) -> Callable[[], None]:
    """Answer the first question of each site, from a thread; returns what waits for its end."""

    def work() -> None:
        left, end = set(sites), time.monotonic() + 10
        while left and time.monotonic() < end:
            for site in sorted(left):
                for wanted in desk.wanted(site):
                    assert unpack(desk.invite(site, wanted).read_bytes(), sender="x") == INVITE
                    path = desk.reply(site, wanted.question)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.with_suffix(".new").write_bytes(reply)
                    path.with_suffix(".new").rename(path)
                    left.discard(site)
            time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    return thread.join


def test_all_are_asked_at_once_and_nothing_is_left_behind(desk: Desk) -> None:
    engine = NetworkEngine(("b", "a"), desk, limit_s=30)
    assert engine.sites == ("a", "b")
    join = answering(desk, "a", "b")
    answers = list(engine.ask(dict.fromkeys("ab", INVITE), Deadline()))
    join()
    assert sorted(answer.site for answer in answers) == ["a", "b"]
    assert all(isinstance(answer.reply, ProbeReply) for answer in answers)
    assert {answer.bytes_to_site for answer in answers} == {len(pack(INVITE))}
    assert {answer.bytes_from_site for answer in answers} == {len(REPLY)}
    assert not [path for path in desk.root.rglob("*/*/*") if path.is_file()]
    assert desk.awaited() == frozenset()


def test_a_silent_site_ends_with_the_deadline_and_its_invite_is_taken_back(desk: Desk) -> None:
    engine = NetworkEngine(("a", "b"), desk, limit_s=30)
    join = answering(desk, "a")
    deadline = Deadline()
    answers = []
    for answer in engine.ask(dict.fromkeys("ab", INVITE), deadline):
        answers.append(answer.site)
        deadline.shorten(0.2)
    join()
    assert answers == ["a"]
    assert desk.wanted("b") == ()


def test_no_exchange_lasts_longer_than_the_limit(desk: Desk) -> None:
    engine = NetworkEngine(("a",), desk, limit_s=0.2)
    assert list(engine.ask({"a": INVITE}, Deadline())) == []


def test_bytes_that_are_no_message_are_a_fault_of_the_site(desk: Desk) -> None:
    join = answering(desk, "a", reply=b"no message")
    (answer,) = NetworkEngine(("a",), desk, limit_s=30).ask({"a": INVITE}, Deadline())
    join()
    assert answer.reply is None and "cannot be read" in str(answer.error)


def test_what_waiting_cannot_mend_is_raised(desk: Desk) -> None:
    write_text(desk.problem, "a process of the coordinator ended, see X")
    with pytest.raises(FedNNUNetError, match="see X") as caught:
        list(NetworkEngine(("a",), desk, limit_s=30).ask({"a": INVITE}, Deadline()))
    assert "see the logs" in caught.value.mend
    desk.report("the disk is full", mend="free some space")
    with pytest.raises(FedNNUNetError, match="the disk is full") as caught:
        list(NetworkEngine(("a",), desk, limit_s=30).ask({"a": INVITE}, Deadline()))
    assert caught.value.mend == "free some space"


def test_tensors_outlast_the_file_that_they_came_in(desk: Desk) -> None:
    sent = sums(np.arange(5.0))
    join = answering(desk, "a", reply=pack(FingerprintReply(tensors=sent)))
    (answer,) = NetworkEngine(("a",), desk, limit_s=30).ask({"a": INVITE}, Deadline())
    join()
    assert not [path for path in desk.root.rglob("from/*/*") if path.is_file()]
    assert answer.reply is not None
    assert torch.equal(answer.reply.tensors["sums"], sent["sums"])


def test_a_revoked_site_is_not_waited_for(desk: Desk) -> None:
    desk.revoked_list.write_text("b")
    try:
        join = answering(desk, "a")
        answers = list(
            NetworkEngine(("a", "b"), desk, limit_s=30).ask(dict.fromkeys("ab", INVITE), Deadline())
        )
        join()
    finally:
        desk.revoked_list.unlink()
    assert [answer.site for answer in answers] == ["a"]
