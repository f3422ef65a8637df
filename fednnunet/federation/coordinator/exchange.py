"""Ask all sites the same, and take either every answer or every error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from fednnunet.errors import FedNNUNetError, ReplyError, raise_all
from fednnunet.federation.coordinator.engine import Answer, Engine
from fednnunet.federation.wire.messages import Message

Kind = TypeVar("Kind", bound=Message)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a question to many sites brought, sorted by site."""

    replies: Mapping[str, Answer]
    errors: Mapping[str, FedNNUNetError]


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
