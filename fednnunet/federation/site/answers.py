"""What a site has answered in one training: each round once and in order, each question once.

The record names the digest of every invite that was answered; it and the reply are on the disk
before the reply leaves. The same invite is answered again by the same bytes, as a coordinator needs
that was restarted; another invite for the same round is refused, and so is an earlier round. So
nobody can have a site train from one state again and again, or compare its answers to slightly
different questions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fednnunet import records
from fednnunet.errors import InputError, RefusalError
from fednnunet.federation.wire.chain import digest
from fednnunet.files import replacing

FOLDER = "answers"
TRAIN = "train"
_RECORD = "answers.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an invite asks for: its kind in words, and of which round."""

    kind: str
    round: int

    @property
    def file(self) -> str:
        """The name of the file with the reply's bytes."""
        return f"{self.kind}_{self.round:04d}.bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One question that was answered; `invite` and `reply` are SHA-256 of the messages' bytes."""

    question: Question
    invite: str
    reply: str
    message: str
    resume_round: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    answered: tuple[Answered, ...] = ()


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one training in `folder`.

    Of the rounds only the last reply is kept, since a coordinator that asks for one round has all
    earlier ones.
    """

    folder: Path

    @property
    def all(self) -> tuple[Answered, ...]:
        """All answers, oldest first."""
        path = self.folder / _RECORD
        return records.read(_Record, path).answered if path.is_file() else ()

    @property
    def rounds(self) -> dict[int, Answered]:
        """The answered rounds of training, by their number from 0."""
        return {a.question.round: a for a in self.all if a.question.kind == TRAIN}

    def find(self, question: Question, invite: str) -> tuple[Answered, bytes] | None:
        """The answer that was given to the invite with this digest, if it was given.

        Raises RefusalError where another invite has asked this, or a later round was answered.
        """
        given = {answer.question: answer for answer in self.all}
        later = question.kind == TRAIN and any(number > question.round for number in self.rounds)
        found = given.get(question)
        if later or (found is not None and found.invite != invite):
            raise RefusalError(
                f"{question.kind} of round {question.round + 1} was answered already"
                if found
                else f"round {question.round + 1} comes after a later one",
                where=str(self.folder),
                mend="ask for every round once and in order, or train in a new run folder",
                advice="rounds_in_order",
            )
        return None if found is None else (found, self._read(found))

    def keep(self, answered: Answered, reply: bytes) -> None:
        """Write down an answer, the reply before the record; older rounds' replies are removed."""
        answered = replace(answered, reply=digest(reply))
        path = self.folder / answered.question.file
        with replacing(path) as temporary:
            temporary.write_bytes(reply)
        records.write(_Record(answered=(*self.all, answered)), self.folder / _RECORD)
        if answered.question.kind == TRAIN:
            for old in self.folder.glob(f"{TRAIN}_*.bin"):
                if old != path:
                    old.unlink(missing_ok=True)

    def _read(self, answered: Answered) -> bytes:
        path = self.folder / answered.question.file
        data = path.read_bytes() if path.is_file() else b""
        if digest(data) != answered.reply:
            raise InputError(
                "the reply that was given is not there any more",
                where=str(path),
                mend="restore the site's folder, or train in a new run folder",
                advice="restore_state",
            )
        return data
