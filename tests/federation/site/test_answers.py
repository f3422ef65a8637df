"""A site's record of what it has answered: on the disk before a reply leaves, and strict."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import InputError, RefusalError
from fednnunet.federation.site.answers import TRAIN, Answered, Answers, Question
from fednnunet.federation.wire.chain import digest


def keep(answers: Answers, number: int, invite: str = "a", kind: str = TRAIN) -> bytes:
    reply = f"reply {kind} {number} {invite}".encode()
    answered = Answered(
        question=Question(kind=kind, round=number), invite=invite, reply="", message="TrainReply"
    )
    answers.keep(answered, reply)
    return reply


def test_nothing_was_answered_at_first(tmp_path):
    answers = Answers(tmp_path / "none")
    assert answers.find(Question(kind=TRAIN, round=0), "a") is None
    assert not (tmp_path / "none").exists()


def test_the_same_invite_finds_the_bytes_and_another_is_refused(tmp_path):
    reply = keep(Answers(tmp_path), 3)
    question, again = Question(kind=TRAIN, round=3), Answers(tmp_path)
    found = again.find(question, "a")
    assert found is not None
    assert (found[0].reply, found[1]) == (digest(reply), reply)
    with pytest.raises(RefusalError, match="answered already"):
        again.find(question, "b")
    assert again.find(Question(kind=TRAIN, round=4), "b") is None


def test_rounds_are_in_order_and_only_the_last_reply_is_kept(tmp_path):
    answers = Answers(tmp_path)
    for number in (0, 2, 10_000):
        keep(answers, number)
    assert sorted(answers.rounds) == [0, 2, 10_000]
    assert [path.name for path in tmp_path.glob("*.bin")] == ["train_10000.bin"]
    for number in (0, 1, 2, 9_999):
        with pytest.raises(RefusalError):
            answers.find(Question(kind=TRAIN, round=number), "a")


def test_other_questions_have_no_order(tmp_path):
    answers = Answers(tmp_path)
    late = keep(answers, 5, kind="evaluate_global")
    early = keep(answers, 2, kind="evaluate_global")
    keep(answers, 9)
    for number, reply in ((5, late), (2, early)):
        found = answers.find(Question(kind="evaluate_global", round=number), "a")
        assert found is not None and found[1] == reply


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"other")])
def test_a_reply_that_is_lost_is_not_made_up(tmp_path, spoil):
    answers = Answers(tmp_path)
    keep(answers, 0)
    spoil(tmp_path / "train_0000.bin")
    with pytest.raises(InputError, match="not there any more"):
        answers.find(Question(kind=TRAIN, round=0), "a")


def test_a_record_that_cannot_be_read_is_a_fault_and_no_new_start(tmp_path):
    answers = Answers(tmp_path)
    keep(answers, 0)
    (tmp_path / "answers.json").write_text("{")
    with pytest.raises(InputError, match="not readable"):
        answers.find(Question(kind=TRAIN, round=0), "a")
