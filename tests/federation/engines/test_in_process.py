"""The engine of a simulation: bytes both ways, and no site asked after the deadline."""

from __future__ import annotations

from types import SimpleNamespace

from fednnunet.federation.coordinator.engine import Deadline
from fednnunet.federation.engines.in_process import InProcessEngine
from fednnunet.federation.wire.messages import ProbeReply, ShapesInvite, pack, unpack

INVITE = ShapesInvite(spacing_mm=(1.0, 1.0, 1.0))


def an_engine(*names: str, answer: bytes | None = None) -> tuple[InProcessEngine, list[str]]:
    asked: list[str] = []

    def site(name: str) -> SimpleNamespace:
        def reply(data: bytes) -> bytes:
            assert unpack(data, sender="test") == INVITE
            asked.append(name)
            return pack(ProbeReply(dice_loss=0.5)) if answer is None else answer

        return SimpleNamespace(answer=reply)

    return InProcessEngine({name: site(name) for name in names}), asked


def test_sites_are_asked_in_order_and_sizes_are_counted():
    engine, asked = an_engine("b", "a")
    answers = list(engine.ask(dict.fromkeys("ab", INVITE), Deadline()))
    assert asked == ["a", "b"]
    assert all(isinstance(answer.reply, ProbeReply) for answer in answers)
    assert {answer.bytes_to_site for answer in answers} == {len(pack(INVITE))}
    assert {answer.bytes_from_site for answer in answers} == {len(pack(ProbeReply(dice_loss=0.5)))}


def test_bytes_that_are_no_message_are_a_fault_of_the_site():
    engine, _ = an_engine("a", answer=b"no message")
    (answer,) = engine.ask({"a": INVITE}, Deadline())
    assert answer.reply is None
    assert "cannot be read" in str(answer.error) and "site a" in str(answer.error)


def test_after_the_deadline_no_further_site_is_asked():
    engine, asked = an_engine("a", "b", "c")
    deadline = Deadline()
    for answer in engine.ask(dict.fromkeys("abc", INVITE), deadline):
        if answer.site == "b":
            deadline.shorten(0.0)
    assert asked == ["a", "b"]
