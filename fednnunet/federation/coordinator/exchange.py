"""Ask many sites, and take from each a reply of the kind asked for, or the fault in its place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from fednnunet.errors import FedNNUNetError, ReplyError, raise_all
from fednnunet.federation.coordinator.engine import Answer, Deadline, Engine
from fednnunet.federation.coordinator.foreign import made_safe
from fednnunet.federation.wire.messages import FaultReply, Message
from fednnunet.progress import Progress

R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Generic[R]):
    """One site's reply, the size of both messages, and the SHA-256 of the reply's bytes."""

    site: str
    reply: R
    bytes_to_site: int = 0
    bytes_from_site: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A site that gave no acceptable reply in time, and why."""

    site: str
    error: FedNNUNetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """An answer that is refused as there was one before it, or as the site was not asked.

    What came before it stands.
    """

    site: str
    error: FedNNUNetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers(Generic[R]):
    """What a question to many sites brought, sorted by site: each site is in one of the two."""

    replies: Mapping[str, Received[R]]
    errors: Mapping[str, FedNNUNetError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How long answers are awaited: `deadline_s` seconds at most (0: without end).

    Once `quorum` replies are accepted, the others have `grace_s` seconds more; 0 for either awaits
    all of them. Tests give a `clock` of their own, in seconds.
    """

    deadline_s: float = 0.0
    quorum: int = 0
    grace_s: float = 0.0
    clock: Callable[[], float] = time.monotonic

    def begin(self) -> Deadline:
        """The deadline of a question that is asked now."""
        return Deadline(self.deadline_s or None, self.clock)


def receive(
    engine: Engine,
    invites: Mapping[str, Message],
    expect: type[R],
    *,
    decode: Callable[[str, R], R] | None = None,
    check: Callable[[str, R], None] | None = None,
    progress: Progress | None = None,
    waiting: Waiting | None = None,
) -> Iterator[Received[R] | Failed | Surplus]:
    """Send the invites and yield one outcome for each site, in the order in which they come.

    `decode(site, reply)` replaces a reply, and `check(site, reply)` sees what it returned; both may
    refuse the reply by raising a FedNNUNetError. A site fails that sends a `FaultReply` or a
    message of another kind, or that gives no reply before the deadline. Only a site's first answer
    counts: each further one is a `Surplus`. Texts of errors are safe to show.
    """
    waiting = waiting or Waiting()
    deadline, silent = waiting.begin(), set(invites)
    accepted = 0
    for answer in engine.ask(invites, deadline):
        site = answer.site
        if site not in silent:
            yield Surplus(site=site, error=_surplus(site, site in invites))
            continue
        silent.discard(site)
        try:
            if deadline.passed:
                raise _late(site)
            received = _accept(answer, expect, decode, check)
        except FedNNUNetError as error:
            yield Failed(site=site, error=_without_frames(made_safe(error)))
        else:
            accepted += 1
            if waiting.grace_s and accepted == waiting.quorum:
                deadline.shorten(waiting.grace_s)
            yield received
            del received
        del answer  # it holds a reply's tensors, while the next one is read
        if progress:
            progress(len(invites) - len(silent), len(invites), site)
    for site in sorted(silent):
        yield Failed(site=site, error=_late(site) if deadline.passed else _no_answer(site))


def ask(
    engine: Engine,
    invites: Mapping[str, Message],
    expect: type[R],
    *,
    decode: Callable[[str, R], R] | None = None,
    check: Callable[[str, R], None] | None = None,
    progress: Progress | None = None,
    waiting: Waiting | None = None,
) -> Answers[R]:
    """All outcomes of `receive` that count, as replies and errors."""
    replies: dict[str, Received[R]] = {}
    errors: dict[str, FedNNUNetError] = {}
    outcomes = receive(
        engine, invites, expect, decode=decode, check=check, progress=progress, waiting=waiting
    )
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            errors[outcome.site] = outcome.error
        elif isinstance(outcome, Received):
            replies[outcome.site] = outcome
    return Answers(replies=dict(sorted(replies.items())), errors=dict(sorted(errors.items())))


def ask_all(
    engine: Engine,
    message: Message,
    expect: type[R],
    *,
    what: str,
    check: Callable[[str, R], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, R]:
    """Ask every site; the errors of all sites are raised together under the heading `what`."""
    invites = dict.fromkeys(engine.sites, message)
    answers = ask(engine, invites, expect, check=check, progress=progress)
    raise_all(what, answers.errors.values())
    return {site: answer.reply for site, answer in answers.replies.items()}


def ask_quorum(
    engine: Engine,
    invites: Mapping[str, Message],
    expect: type[R],
    waiting: Waiting,
    *,
    what: str,
    check: Callable[[str, R], None] | None = None,
    progress: Progress | None = None,
) -> Answers[R]:
    """Ask sites of which a quorum suffices; without a quorum every error is raised, as `what`."""
    waiting = replace(waiting, quorum=min(waiting.quorum, len(invites)))
    answers = ask(engine, invites, expect, check=check, progress=progress, waiting=waiting)
    if not waiting.quorum or len(answers.replies) < waiting.quorum:
        raise_all(what, answers.errors.values())
    return answers


def _without_frames(error: FedNNUNetError) -> FedNNUNetError:
    """The error without the frames that it came through: they hold the reply until a round ends."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)


def _accept(
    answer: Answer,
    expect: type[R],
    decode: Callable[[str, R], R] | None,
    check: Callable[[str, R], None] | None,
) -> Received[R]:
    """The answer as a reply of the kind expected; raises what is wrong with it."""
    if answer.error:
        raise answer.error
    reply = answer.reply
    if isinstance(reply, FaultReply):
        raise reply.error(answer.site)
    if not isinstance(reply, expect):
        raise ReplyError(
            f"site {answer.site} sent a {type(reply).__name__}, not a {expect.__name__}",
            where=f"reply of site {answer.site}",
            mend="give coordinator and sites the same version of the program",
        )
    if decode:
        reply = decode(answer.site, reply)
    if check:
        check(answer.site, reply)
    return Received(
        site=answer.site,
        reply=reply,
        bytes_to_site=answer.bytes_to_site,
        bytes_from_site=answer.bytes_from_site,
        sha256=answer.sha256,
    )


def _late(site: str) -> ReplyError:
    return ReplyError(
        f"late: site {site} gave no reply before the deadline, so it does not count",
        where=f"site {site}",
        mend="raise training.deadline_s or training.grace_s, or give the site less to do",
    )


def _surplus(site: str, asked: bool) -> ReplyError:
    what = "more than one answer came" if asked else "an answer came that was not asked for"
    return ReplyError(
        what, where=f"site {site}", mend="see whether another program uses the site's name"
    )


def _no_answer(site: str) -> ReplyError:
    return ReplyError(
        f"site {site} gave no answer",
        where=f"site {site}",
        mend="see whether its program runs and can be reached",
    )
