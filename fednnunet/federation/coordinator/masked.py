"""A sum under masks, as the coordinator asks for it: four questions to the sites in a row.

What comes of it is one vector, the sum over the sites whose vectors came in time, and each such
reply without its vector. See `federation.secure.protocol`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np

from fednnunet.errors import FedNNUNetError, raise_all
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.exchange import (
    Answers,
    Failed,
    Received,
    Surplus,
    Waiting,
    ask,
    receive,
)
from fednnunet.federation.secure.fixed_point import Bits, word_of
from fednnunet.federation.secure.protocol import PublicKeys, Unmasking
from fednnunet.federation.wire.message import Message
from fednnunet.federation.wire.secure_messages import (
    KeysInvite,
    KeysReply,
    SharesInvite,
    SharesReply,
    Topic,
    UnmaskInvite,
    UnmaskReply,
    masked_words,
)
from fednnunet.progress import Progress

R = TypeVar("R", bound=Message)
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedQuestion(Generic[R]):
    """What is asked under masks, of whom, and how large the vectors are.

    `invites(session, partners)` makes the requests, `check(site, reply)` may refuse a reply. Masks
    are not removed from a sum of fewer than `needed` sites, at least the `threshold` of the shares:
    sites remove them once. `what` heads the errors of several sites.
    """

    topic: Topic
    expect: type[R]
    invites: Callable[[str, tuple[str, ...]], Mapping[str, Message]]
    threshold: int
    needed: int
    size: int
    what: str
    bits: Bits = 64
    run: str = ""
    round: int = 0
    check: Callable[[str, R], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedSum(Generic[R]):
    """The sum (size,) of the words of the sites in `replies`; all others are in `errors`.

    `partners` are the sites among which masks were made. The replies count the bytes of all four
    questions and are without tensors.
    """

    total: np.ndarray
    replies: Mapping[str, Received[R]]
    errors: Mapping[str, FedNNUNetError]
    partners: tuple[str, ...]
    faults: Mapping[str, str]


@dataclass(slots=True)
class _Course(Generic[R]):
    """One sum on its way."""

    engine: Engine
    question: MaskedQuestion[R]
    waiting: Waiting
    session: str
    errors: dict[str, FedNNUNetError] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    traffic: dict[str, tuple[int, int]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def ask(self, invites: Mapping[str, Message], expect: type[M], needed: int) -> dict[str, M]:
        """The replies; sites that give none are noted."""
        answers: Answers[M] = ask(self.engine, invites, expect, waiting=self.waiting)
        for site, reply in answers.replies.items():
            self.count(site, reply.bytes_to_site, reply.bytes_from_site)
        self.errors |= answers.errors
        self.check_enough(answers.replies, needed)
        return {site: answer.reply for site, answer in answers.replies.items()}

    def check_enough(self, sites: Collection[str], needed: int) -> None:
        """Raise the errors of the others where too few sites are left."""
        if len(sites) < needed:
            raise_all(self.question.what, self.errors.values())
            raise FedNNUNetError(
                f"{len(sites)} sites are left for a sum under masks, {needed} are needed",
                mend="bring the sites back and run the same command again",
            )

    def count(self, site: str, to_site: int, from_site: int) -> None:
        """Add the bytes of two messages."""
        before = self.traffic.get(site, (0, 0))
        self.traffic[site] = before[0] + to_site, before[1] + from_site

    def add_up(self, partners: tuple[str, ...]) -> tuple[np.ndarray, dict[str, R]]:
        """Step 3: the sum of the masked vectors that come in time, and their replies."""
        question, total = self.question, np.zeros(self.question.size, word_of(self.question.bits))
        replies: dict[str, R] = {}

        def add(site: str, reply: R) -> None:
            words = masked_words(reply, question.size, question.bits, site=site)
            if question.check:
                question.check(site, reply)
            np.add(total, words, out=total)

        invites = question.invites(self.session, partners)
        outcomes = receive(self.engine, invites, question.expect, check=add, waiting=self.waiting)
        for outcome in outcomes:
            if isinstance(outcome, Failed):
                self.errors[outcome.site] = outcome.error
            elif isinstance(outcome, Surplus):
                self.faults[outcome.site] = outcome.error.what
            else:
                self.count(outcome.site, outcome.bytes_to_site, outcome.bytes_from_site)
                self.digests[outcome.site] = outcome.sha256
                replies[outcome.site] = _bare(outcome.reply)
            del outcome  # it holds a vector
        self.check_enough(replies, question.needed)
        return total, dict(sorted(replies.items()))


def masked_sum(
    engine: Engine,
    sites: Collection[str],
    question: MaskedQuestion[R],
    *,
    waiting: Waiting | None = None,
    progress: Progress | None = None,
) -> MaskedSum[R]:
    """Ask `sites` for vectors under masks, and return their sum.

    Sites may drop out at any step as long as enough are left. Raises their errors together where
    fewer are, and FedNNUNetError where shares do not fit.
    """
    course = _Course(engine, question, waiting or Waiting(), secrets.token_hex(16))
    keys = KeysInvite(
        topic=question.topic, session=course.session, run=question.run, round=question.round
    )
    found = course.ask(dict.fromkeys(sites, keys), KeysReply, question.needed)
    roster = {site: reply.keys for site, reply in found.items()}
    shares = SharesInvite(
        topic=question.topic,
        session=course.session,
        run=question.run,
        round=question.round,
        threshold=question.threshold,
        roster=roster,
    )
    shared = course.ask(dict.fromkeys(roster, shares), SharesReply, question.needed)
    sealed = {site: reply.sealed for site, reply in shared.items()}
    partners = tuple(sorted(sealed))
    total, replies = course.add_up(partners)
    _unmask(course, total, roster, sealed, tuple(replies))
    if progress:
        progress(len(replies), len(sites), question.topic)
    received = {
        site: Received(
            site=site,
            reply=reply,
            bytes_to_site=course.traffic[site][0],
            bytes_from_site=course.traffic[site][1],
            sha256=course.digests.get(site, ""),
        )
        for site, reply in replies.items()
    }
    return MaskedSum(
        total=total,
        replies=received,
        errors=dict(sorted(course.errors.items())),
        partners=partners,
        faults=course.faults,
    )


def _unmask(
    course: _Course[R],
    total: np.ndarray,
    roster: Mapping[str, PublicKeys],
    sealed: Mapping[str, Mapping[str, str]],
    survivors: tuple[str, ...],
) -> None:
    """Step 4: remove all masks from the sum, in place. A site that is lost now stays in the sum."""
    question = course.question
    invites = {
        site: UnmaskInvite(
            topic=question.topic,
            session=course.session,
            run=question.run,
            round=question.round,
            survivors=survivors,
            sealed={sender: shares.get(site, "") for sender, shares in sealed.items()},
        )
        for site in survivors
    }
    before = dict(course.errors)
    shares = course.ask(invites, UnmaskReply, question.threshold)
    revealed = {site: reply.revealed for site, reply in shares.items()}
    for site in course.errors.keys() - before.keys():
        course.faults[site] = f"did not help to remove masks: {course.errors.pop(site).what}"
    Unmasking(
        session=course.session,
        threshold=question.threshold,
        roster=roster,
        partners=tuple(sealed),
        survivors=survivors,
    ).remove(total, revealed)


def _bare(reply: R) -> R:
    """The reply without its tensors."""
    return replace(reply, tensors={})
