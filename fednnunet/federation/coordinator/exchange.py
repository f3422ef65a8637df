"""Ask all sites the same, and take either every answer or every error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from fednnunet.errors import FedNNUNetError, ReplyError, raise_all
from fednnunet.federation.coordinator.engine import Answer, Engine
from fednnunet.federation.wire.messages import Message
from fednnunet.progress import Progress

Kind = TypeVar("Kind", bound=Message)


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
    decode: Callable[[str, Message], Message] | None = None,
    check: Callable[[str, Message], None] | None = None,
    progress: Progress | None = None,
) -> Answers:
    """Send the invites; sort answers into replies of `kind` and errors.

    `decode(site, reply)` replaces a reply, and `check(site, reply)` sees what it returned; both may
    refuse the reply by raising a FedNNUNetError.
    """
    replies, errors = {}, {}
    for done, answer in enumerate(engine.ask(invites), start=1):
        try:
            replies[answer.site] = _accept(answer, kind, decode, check)
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
    answer: Answer,
    kind: type[Message],
    decode: Callable[[str, Message], Message] | None,
    check: Callable[[str, Message], None] | None,
) -> Answer:
    if answer.error:
        raise answer.error
    if not isinstance(answer.reply, kind):
        raise ReplyError(
            f"expected a {kind.__name__}, got a {type(answer.reply).__name__}",
            where=f"reply of site {answer.site}",
            mend="both sides must run the same version",
        )
    reply: Message = answer.reply
    if decode:
        reply = decode(answer.site, reply)
    if check:
        check(answer.site, reply)
    return replace(answer, reply=reply)
