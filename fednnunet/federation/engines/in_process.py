"""The engine of a simulation: all sites in this process, one after another.

Every message is packed to bytes and read again, so what crosses a site's wall here is exactly what
would cross a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.federation.wire.limits import reply_limit
from fednnunet.federation.wire.messages import Message, pack


class InProcessSite(Protocol):
    """A site in this process."""

    @property
    def prepared(self) -> PreparedSite:
        """What it trains with, once its cases are prepared."""
        ...

    def answer(self, data: bytes) -> bytes:
        """Take an invite as bytes and return the reply as bytes; a fault is a reply, too."""
        ...


class InProcessEngine:
    """Runs sites in this process."""

    def __init__(self, sites: Mapping[str, InProcessSite]) -> None:
        self._sites = dict(sorted(sites.items()))

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, sorted."""
        return tuple(self._sites)

    def local(self, name: str) -> InProcessSite:
        """One of the sites itself, for what is done on this machine only."""
        return self._sites[name]

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        """Ask the sites in the order of their names.

        A site at work is not interrupted; after the deadline no further site is asked.
        """
        for name in sorted(invites):
            if deadline.passed:
                return
            yield self._ask(name, pack(invites[name]), reply_limit(invites[name]))

    def _ask(self, name: str, data: bytes, limit: int) -> Answer:
        answer = self._sites[name].answer(data)
        return Answer.of(name, answer, sent=len(data), limit=limit)
