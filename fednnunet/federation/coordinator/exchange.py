"""Ask many sites, and take from each a reply of the kind asked for, or the error in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from fednnunet.errors import FedNNUNetError, ReplyError, raise_all
from fednnunet.federation.coordinator.engine import Answer, Engine
from fednnunet.federation.wire.messages import Message

Kind = TypeVar("Kind", bound=Message)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Generic[Kind]):
    """One site's reply, and the size of both messages."""

    site: str
    reply: Kind
    bytes_to_site: int = 0
    bytes_from_site: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A site that gave no acceptable reply, and why."""

    site: str
    error: FedNNUNetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a question to many sites brought, sorted by site."""

    replies: Mapping[str, Answer]
    errors: Mapping[str, FedNNUNetError]


def receive(
    engine: Engine,
    invites: Mapping[str, Message],
    expect: type[Kind],
    *,
    check: Callable[[str, Kind], None] | None = None,
) -> Iterator[Received[Kind] | Failed]:
    """Send the invites and yield one outcome for each answer, in the order in which they come.

    `check(site, reply)` may refuse a reply by raising a FedNNUNetError.
    """
    for answer in engine.ask(invites):
        try:
            _accept(answer, expect, check)  # type: ignore[arg-type]
        except FedNNUNetError as error:
            yield Failed(site=answer.site, error=error)
        else:
            yield Received(
                site=answer.site,
                reply=answer.reply,  # type: ignore[arg-type]
                bytes_to_site=answer.bytes_to_site,
                bytes_from_site=answer.bytes_from_site,
            )


def ask(
    engine: Engine,
    invites: Mapping[str, Message],
    kind: type[Message],
    *,
    check: Callable[[str, Message], None] | None = None,
    progress: Progress | None = None,
) -> Answers:
    """Send the invites; sort answers into replies of `kind` and errors.

    `check(site, reply)` may refuse a reply by raising a FedNNUNetError.
    """
    replies, errors = {}, {}
    for done, answer in enumerate(engine.ask(invites), start=1):
        try:
            _accept(answer, kind, check)
            replies[answer.site] = answer
        except FedNNUNetError as error:
            errors[answer.site] = error
        if progress:
            progress(done, len(invites), answer.site)
    return Answers(replies=dict(sorted(replies.items())), errors=dict(sorted(errors.items())))


def ask_all(
    engine: Engine,
    message: Message,
    kind: type[Kind],
    *,
    what: str,
    check: Callable[[str, Message], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Kind]:
    """Ask every site; the errors of all sites are raised together under the heading `what`."""
    invites = dict.fromkeys(engine.sites, message)
    answers = ask(engine, invites, kind, check=check, progress=progress)
    raise_all(what, answers.errors.values())
    return {site: answer.reply for site, answer in answers.replies.items()}  # type: ignore[misc]


def _accept(
    answer: Answer, kind: type[Message], check: Callable[[str, Message], None] | None
) -> None:
    if answer.error:
        raise answer.error
    if not isinstance(answer.reply, kind):
        raise ReplyError(
            f"expected a {kind.__name__}, got a {type(answer.reply).__name__}",
            where=f"reply of site {answer.site}",
            mend="both sides must run the same version",
        )
    if check:
        check(answer.site, answer.reply)
