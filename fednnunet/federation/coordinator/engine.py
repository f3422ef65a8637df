"""How the coordinator reaches sites: the one interface that `rounds.py` knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.wire.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one invite: a reply, or the error that the site gave instead."""

    site: str
    reply: Message | None = None
    error: FedNNUNetError | None = None
    bytes_to_site: int = 0
    bytes_from_site: int = 0


class Engine(Protocol):
    """Carries invites to sites and replies back."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites that can be asked, sorted."""
        ...

    def ask(self, invites: Mapping[str, Message]) -> Iterator[Answer]:
        """Send each site its invite; yield the answers as they come, in any order."""
        ...
