"""What the coordinator makes of the answers to one question: replies, faults and late ones."""

from __future__ import annotations

import csv
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
import torch

from fednnunet.errors import DataError, FedNNUNetError, InputError, RefusalError, ReplyError
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.coordinator.exchange import (
    Failed,
    Waiting,
    ask,
    ask_all,
    ask_quorum,
    receive,
)
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.spec import Training
from fednnunet.federation.wire.messages import (
    FaultReply,
    Message,
    ModelInvite,
    ModelReply,
    PrepareReply,
    ProbeReply,
    ShapesInvite,
)
from tests.federation.fakes import PretendEngine, a_run, go

INVITE = ShapesInvite(spacing_mm=(1.0, 1.0, 1.0))
ASKED = dict.fromkeys("abc", INVITE)


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """Sites that answer with the messages given, after so many seconds each."""

    sites = ("a", "b", "c")

    def __init__(self, clock: Clock, script: Mapping[str, tuple[float, Message | None]]) -> None:
        self.clock, self.script = clock, script
        self.left: list[float | None] = []

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        for site, (seconds, reply) in self.script.items():
            self.left.append(deadline.remaining_s)
            self.clock.now += seconds
            if reply is not None:
                yield Answer(site=site, reply=reply, bytes_to_site=3, bytes_from_site=7)


def prepared(cases: int) -> PrepareReply:
    return PrepareReply(training_cases=cases, held_out_cases=1)


def test_replies_are_typed_and_sorted_by_site():
    engine = Scripted(Clock(), {site: (0, prepared(i)) for i, site in enumerate("cab")})
    answers = ask(engine, ASKED, PrepareReply)
    assert list(answers.replies) == ["a", "b", "c"]
    assert [answer.reply.training_cases for answer in answers.replies.values()] == [1, 2, 0]
    assert answers.replies["a"].bytes_from_site == 7
    assert not answers.errors


def test_a_reply_of_another_kind_is_a_fault_with_the_name_of_its_site():
    script = {"a": (0, prepared(1)), "b": (0, ProbeReply(dice_loss=0.5)), "c": (0, prepared(1))}
    answers = ask(Scripted(Clock(), script), ASKED, PrepareReply)
    assert set(answers.replies) == {"a", "c"}
    assert "site b sent a ProbeReply, not a PrepareReply" in str(answers.errors["b"])
    with pytest.raises(ReplyError, match="site b sent a ProbeReply"):
        ask_all(Scripted(Clock(), script), INVITE, PrepareReply, what="cannot prepare")


def test_a_site_that_says_nothing_is_a_fault():
    answers = ask(Scripted(Clock(), {"a": (0, prepared(1))}), ASKED, PrepareReply)
    assert {s: e.what for s, e in answers.errors.items()} == {
        "b": "site b gave no answer",
        "c": "site c gave no answer",
    }


def test_a_fault_reply_becomes_an_error_of_its_kind_in_words():
    script = {
        "a": (0, FaultReply(kind="data", faults=3, advice="check_data")),
        "b": (0, FaultReply(kind="refusal", faults=1, advice="model_stays")),
        "c": (0, FaultReply(kind="unexpected", faults=1, advice="report_fault")),
    }
    errors = ask(Scripted(Clock(), script), ASKED, PrepareReply).errors
    assert isinstance(errors["a"], DataError) and isinstance(errors["b"], RefusalError)
    assert "not fit for the task (3 faults)" in errors["a"].what
    for site, error in errors.items():
        assert error.where == f"site {site}"
        assert error.mend


def test_a_check_may_refuse():
    def check(site: str, reply: PrepareReply) -> None:
        if reply.training_cases > 1:
            raise InputError("too many", mend="fewer")

    engine = Scripted(Clock(), {site: (0, prepared(i)) for i, site in enumerate("abc")})
    answers = ask(engine, ASKED, PrepareReply, check=check)
    assert set(answers.replies) == {"a", "b"}
    assert answers.errors["c"].what == "too many"


def test_after_the_deadline_answers_are_late():
    clock = Clock()
    engine = Scripted(clock, {site: (4, prepared(1)) for site in "abc"})
    waiting = Waiting(deadline_s=9.0, clock=clock)
    answers = ask(engine, ASKED, PrepareReply, waiting=waiting)
    assert set(answers.replies) == {"a", "b"}
    assert answers.errors["c"].what.startswith("late:")
    assert engine.left == [9.0, 5.0, 1.0]


def test_a_site_without_any_answer_by_the_deadline_is_late_as_well():
    clock = Clock()
    engine = Scripted(clock, {"a": (1, prepared(1)), "b": (9, None)})
    answers = ask(engine, ASKED, PrepareReply, waiting=Waiting(deadline_s=5.0, clock=clock))
    assert set(answers.replies) == {"a"}
    assert all(answers.errors[site].what.startswith("late:") for site in "bc")


@pytest.mark.parametrize(("grace_s", "taken"), [(0.0, "abc"), (5.0, "abc"), (3.0, "ab")])
def test_after_a_quorum_the_others_have_the_grace_time(grace_s, taken):
    clock = Clock()
    engine = Scripted(clock, {site: (4, prepared(1)) for site in "abc"})
    waiting = Waiting(quorum=2, grace_s=grace_s, clock=clock)
    answers = ask(engine, ASKED, PrepareReply, waiting=waiting)
    assert "".join(answers.replies) == taken
    assert engine.left[:2] == [None, None]
    assert engine.left[2] == (grace_s or None)


def test_a_fault_does_not_count_for_the_quorum():
    clock = Clock()
    script = {site: (4.0, prepared(1)) for site in "abc"}
    script["a"] = (4.0, FaultReply(kind="fault", faults=1, advice="read_log"))
    waiting = Waiting(quorum=2, grace_s=1.0, clock=clock)
    answers = ask(Scripted(clock, script), ASKED, PrepareReply, waiting=waiting)
    assert set(answers.replies) == {"b", "c"}


class Slow(PretendEngine):
    """Site c answers after the deadline of a round: with its reply, or with none at all."""

    def __init__(self, *, silent: bool) -> None:
        super().__init__()
        self.silent = silent

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        for answer in super().ask(invites, deadline):
            if answer.site == "c":
                deadline.shorten(0.0)
                if self.silent:
                    return
            yield answer


@pytest.mark.parametrize("silent", [False, True])
def test_a_late_reply_is_not_merged_and_stands_in_the_history_as_late(tmp_path, silent):
    go(a_run(tmp_path, quorum=2, deadline_s=60.0, rounds=2), Slow(silent=silent))
    for record in load_records(tmp_path / "rounds"):
        assert set(record.sites) == {"a", "b"}
        assert record.refused["c"].startswith("late:")
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [row["refused"][:5] for row in rows if row["site"] == "c"] == ["late:"] * 2


def test_a_reply_of_an_earlier_round_is_late(tmp_path):
    class Behind(PretendEngine):
        def reply(self, site, invite):
            reply = super().reply(site, invite)
            behind = site == "c" and invite.round
            return replace(reply, round=invite.round - 1) if behind else reply

    go(a_run(tmp_path, quorum=2, rounds=2), Behind())
    assert all("late" in r.refused["c"] for r in load_records(tmp_path / "rounds")[1:])


def test_without_enough_replies_by_the_deadline_the_round_fails(tmp_path):
    with pytest.raises(FedNNUNetError, match="late"):
        go(a_run(tmp_path, deadline_s=60.0), Slow(silent=True))


def test_deadline_and_grace_may_be_changed_while_a_federation_trains(tmp_path):
    key = a_run(tmp_path, quorum=2).key
    assert a_run(tmp_path, quorum=2, deadline_s=60.0, grace_s=5.0).key == key


def test_impossible_times_are_refused():
    with pytest.raises(InputError, match="deadline_s is -1"):
        Training(deadline_s=-1.0)
    with pytest.raises(InputError, match="without a quorum"):
        Training(grace_s=1.0)


@pytest.mark.parametrize(("quorum", "enough"), [(0, False), (1, True), (2, True), (3, False)])
def test_a_quorum_suffices_where_one_is_agreed(quorum: int, enough: bool):
    script = {"a": (0, prepared(1)), "b": (0, ProbeReply(dice_loss=0.5)), "c": (0, prepared(1))}
    engine, waiting = Scripted(Clock(), script), Waiting(quorum=quorum)
    if not enough:
        with pytest.raises(ReplyError, match="site b sent a ProbeReply"):
            ask_quorum(engine, ASKED, PrepareReply, waiting, what="cannot prepare")
        return
    answers = ask_quorum(engine, ASKED, PrepareReply, waiting, what="cannot prepare")
    assert set(answers.replies) == {"a", "c"} and set(answers.errors) == {"b"}


def test_a_quorum_of_more_sites_than_are_asked_is_all_of_them():
    script = {"a": (0, prepared(1))}
    engine, waiting = Scripted(Clock(), script), Waiting(quorum=3)
    asked = {"a": INVITE}
    answers = ask_quorum(engine, asked, PrepareReply, waiting, what="cannot prepare")
    assert set(answers.replies) == {"a"}


MODEL = ModelInvite(run="", method="fedavg", round=1)


class Echo:
    """Sites that send the number that stands for them."""

    sites = ("a", "b")

    def ask(self, invites, deadline):
        for place, site in enumerate(invites):
            reply = ModelReply(tensors={"w": torch.full((2,), float(place))})
            yield Answer(site=site, reply=reply, bytes_from_site=7)


def test_replies_are_decoded_before_they_are_checked():
    seen = {}

    def decode(site, message):
        if site == "a":
            raise ReplyError("this cannot be read")
        return replace(message, tensors={"w": message.tensors["w"] + 1})

    def check(site, message):
        seen[site] = message.tensors["w"].tolist()

    answers = ask(Echo(), dict.fromkeys("ab", MODEL), ModelReply, decode=decode, check=check)
    assert seen == {"b": [2.0, 2.0]}
    assert answers.replies["b"].reply.tensors["w"].tolist() == [2.0, 2.0]
    assert answers.replies["b"].bytes_from_site == 7
    assert answers.errors["a"].what == "this cannot be read"


def test_no_reply_is_held_while_the_next_one_is_read():
    """Also not by what was wrong with it: an error's traceback holds the frames it came through."""
    alive: list[weakref.ref[torch.Tensor]] = []
    held: list[int] = []

    class Engine:
        sites = ("a", "b", "c")

        def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
            for site in invites:
                held.append(sum(each() is not None for each in alive))
                yield self.answer(site)

        def answer(self, site: str) -> Answer:
            tensor = torch.ones(3)
            alive.append(weakref.ref(tensor))
            return Answer(site=site, reply=ModelReply(tensors={"w": tensor}))

    def check(site: str, reply: ModelReply) -> None:
        if site == "b":
            raise ReplyError("no", mend="send another reply")

    errors = []
    for outcome in receive(Engine(), ASKED, ModelReply, check=check):
        if isinstance(outcome, Failed):
            errors.append(outcome.error)
        del outcome
    assert held == [0, 0, 0] and len(errors) == 1
