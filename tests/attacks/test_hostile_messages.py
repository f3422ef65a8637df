"""Bytes of a site that look like a message: each is refused by name, before it costs much."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fednnunet.errors import FedNNUNetError, ReplyError, single_faults
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.coordinator.exchange import Failed, receive
from fednnunet.federation.coordinator.foreign import MAX_FAULTS, MAX_TEXT
from fednnunet.federation.engines.in_process import InProcessEngine
from fednnunet.federation.wire.limits import reply_limit
from fednnunet.federation.wire.messages import (
    EvaluateInvite,
    EvaluateReply,
    FaultReply,
    MeasureInvite,
    ModelInvite,
    PrepareReply,
    ProbeInvite,
    ProbeReply,
    ShapesInvite,
    TrainInvite,
    TrainReply,
    pack,
    unpack,
)
from fednnunet.federation.wire.notes import Note
from fednnunet.task import Task
from tests.attacks.forging import forged

ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202e"

REPLY = TrainReply(
    tensors={"w": torch.ones(2)},
    run="",
    round=1,
    phase="joint",
    cases=5,
    loss=0.5,
    seconds=1.0,
    wait_share=0.0,
    overlap=((1, 0, 0),),
    notes=(Note(code="compiled"),),
)
PROBE = ProbeInvite(run="", method="fedavg", round=1)

Fields = dict[str, Any]


def fields(**values: Any) -> Callable[[Fields], Fields]:
    return lambda found: {**found, **values}


ATTACKS: dict[str, Callable[[Fields], Fields]] = {
    "a number of 401 digits": fields(loss=10**400),
    "a round of 401 digits": fields(round=10**400),
    "a loss of 1e308": fields(loss=1e308),
    "an unknown field": fields(more=1),
    "an unknown field with escapes": fields(**{ESCAPES: 1}),
    "a name of 100,000 letters": fields(**{"x" * 100_000: 1}),
    "100,000 unknown fields": lambda found: {**found, **{f"x{i}": i for i in range(100_000)}},
    "tensors among the fields": fields(tensors={}),
    "fields that are no table": lambda found: [found],
    "a note of 3 MB": fields(notes=[{"code": "x" * 3_000_000}]),
    "a note of 20 MB": fields(notes=[{"code": "x" * 20_000_000}]),
    "a note with escapes": fields(notes=[{"code": ESCAPES}]),
    "a note with huge numbers": fields(notes=[{"code": "gpus", "numbers": [2**62]}]),
    "100,000 notes": fields(notes=[{"code": "compiled"}] * 100_000),
    "200,000 rows of overlaps": fields(overlap=[[1, 0, 0]] * 200_000),
    "200,000 rows that are no numbers": fields(overlap=[["x", [], {}]] * 200_000),
    "a run with 3 million letters": fields(run="x" * 3_000_000),
    "nesting of 900 levels": fields(overlap=json.loads("[" * 900 + "]" * 900)),
}


class Sender:
    """A site that answers every invite with the same bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def answer(self, data: bytes) -> bytes:
        return self.data


def refusal(data: bytes, kind: type = TrainReply) -> FedNNUNetError:
    """The error that the coordinator has of a site that answers with these bytes."""
    engine = InProcessEngine({"north": Sender(data)})
    (outcome,) = receive(engine, {"north": PROBE}, kind)
    assert isinstance(outcome, Failed)
    return outcome.error


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_refused_with_the_name_of_the_site_in_a_few_printable_lines(attack):
    error = refusal(forged(REPLY, ATTACKS[attack]))
    assert "north" in str(error)
    assert len(single_faults(error)) <= MAX_FAULTS + 1
    for fault in single_faults(error):
        for text in (fault.what, fault.where, fault.mend):
            assert text.isprintable()
            assert len(text) <= MAX_TEXT


def test_what_is_forged_is_only_the_change():
    engine = InProcessEngine({"north": Sender(forged(REPLY, lambda found: found))})
    (outcome,) = receive(engine, {"north": PROBE}, TrainReply)
    assert not isinstance(outcome, Failed)
    assert outcome.reply.overlap == REPLY.overlap


def test_entries_of_a_list_that_is_too_long_are_not_read():
    data = forged(REPLY, ATTACKS["200,000 rows of overlaps"])
    with pytest.raises(FedNNUNetError, match="200000 entries, more than") as caught:
        unpack(data, sender="site north")
    assert len(single_faults(caught.value)) == 1


@pytest.mark.parametrize("length", [2**24 + 1, 2**40, 2**64 - 1])
def test_a_header_that_says_it_is_huge_is_not_read(length):
    data = length.to_bytes(8, "little") + b"{}" * 8
    with pytest.raises(ReplyError, match="cannot be read"):
        unpack(data, sender="site north")


def test_a_reply_of_many_more_bytes_than_its_invite_allows_is_not_read():
    data = pack(ProbeReply(tensors={"w": torch.zeros(2**24)}, dice_loss=0.5))
    error = refusal(data, ProbeReply)
    assert "bytes, more than" in error.what
    assert "site north" in error.where


def test_honest_replies_are_far_below_their_limits():
    received = {"w": torch.zeros(1000, 1000)}
    invite = TrainInvite(
        tensors=received, run="", method="m", round=0, phase="joint", resume_round=0,
        iterations=1, schedule_start=0, schedule_length=1,
    )  # fmt: skip
    assert reply_limit(invite) > 2 * len(pack(invite))
    task = Task(name="t", channels=("MRI",), labels=("background", "a"))
    for other in (
        MeasureInvite(task=task),
        ShapesInvite(spacing_mm=(1.0, 1.0, 1.0)),
        EvaluateInvite(run="", method="m", round=0, personal=True),
        ModelInvite(run="", method="m", round=0),
    ):
        assert reply_limit(other) >= 2**25


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (PrepareReply, {"training_cases": -1, "held_out_cases": 0}, "training_cases is -1"),
        (PrepareReply, {"training_cases": 1, "held_out_cases": 10**9}, "held_out_cases is"),
        (ProbeReply, {"dice_loss": -0.5}, "dice_loss is -0.5"),
        (ProbeReply, {"dice_loss": float("nan")}, "dice_loss is nan"),
        (FaultReply, {"kind": "data", "faults": 0, "advice": "check_data"}, "faults is 0"),
        (ShapesInvite, {"spacing_mm": (1.0, -1.0, 1.0)}, "spacing_mm holds -1"),
        (ShapesInvite, {"spacing_mm": (1e-300, 1.0, 1.0)}, "spacing_mm holds 1e-300"),
    ],
)
def test_a_message_out_of_range_cannot_even_be_made(kind, values, words):
    with pytest.raises(ReplyError, match=words):
        kind(**values)


IMPOSSIBLE: dict[str, tuple[Any, str]] = {
    "negative cases": (lambda s: {**s, "cases": -1}, "cases is -1"),
    "a billion cases": (lambda s: {**s, "cases": 10**9}, "cases is 1000000000"),
    "mean Dice of 2": (lambda s: metric(s, count=2, total=4.0, squares=8.0), "values from 0 to 1"),
    "negative variance": (lambda s: metric(s, count=2, total=1.9, squares=0.1), "negative var"),
    "squares above the sum": (lambda s: metric(s, count=2, total=1.0, squares=1.5), "0 to 1"),
    "a sum over no case": (lambda s: metric(s, count=0, total=1.0, squares=1.0), "over no case"),
    "a negative sum": (lambda s: metric(s, count=2, total=-1.0, squares=1.0), "total is -1"),
    "a sum of 1e308": (lambda s: metric(s, count=2, total=1e308, squares=0.0), "total is 1e"),
    "sums over more cases": (lambda s: metric(s, count=9, total=1.0, squares=1.0), "sums over 9"),
}


def metric(scores: Fields, **values: Any) -> Fields:
    return {**scores, "targets": {"a": {**scores["targets"]["a"], "dice": values}}}


@pytest.mark.parametrize("attack", IMPOSSIBLE)
def test_impossible_scores_are_refused(attack):
    change, words = IMPOSSIBLE[attack]
    scores = {"cases": 2, "targets": {"a": {}}}
    empty = EvaluateReply(scores=SiteScores.empty(("a",)), round=1)
    error = refusal(forged(empty, fields(scores=change(scores))), EvaluateReply)
    assert words in str(error)
