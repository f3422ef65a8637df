"""How the coordinator reaches sites: the one interface to them that it knows, and its deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.wire.chain import digest
from fednnunet.federation.wire.messages import Message, unpack, unpack_file
from fednnunet.files import sha256_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one invite: a message of the site, or why none could be read.

    `sha256` is the digest of the answer's bytes.
    """

    site: str
    reply: Message | None = None
    error: FedNNUNetError | None = None
    bytes_to_site: int = 0
    bytes_from_site: int = 0
    sha256: str = ""

    @classmethod
    def of(cls, site: str, data: bytes, *, sent: int, limit: int) -> Answer:
        """What the bytes of a site say, at most `limit` of them; `sent` bytes went to it."""
        read = partial(unpack, data, sender=f"site {site}", limit=limit)
        return cls._of(site, read, sent, len(data), digest(data))

    @classmethod
    def of_file(cls, site: str, path: Path, *, sent: int, limit: int) -> Answer:
        """As `of`, for bytes in a file; it may be removed afterwards, see `unpack_file`."""
        read = partial(unpack_file, path, sender=f"site {site}", limit=limit)
        return cls._of(site, read, sent, path.stat().st_size, sha256_of(path).hex())

    @classmethod
    def _of(
        cls, site: str, read: Callable[[], Message], sent: int, received: int, sha256: str
    ) -> Answer:
        reply: Message | None = None
        error: FedNNUNetError | None = None
        try:
            reply = read()
        except FedNNUNetError as unreadable:
            error = unreadable
        return cls(
            site=site,
            reply=reply,
            error=error,
            bytes_to_site=sent,
            bytes_from_site=received,
            sha256=sha256,
        )


class Deadline:
    """Until when answers are awaited, in seconds of `clock`; it may be brought forward.

    No `seconds` means without end. Tests give a clock of their own.
    """

    def __init__(
        self, seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    @property
    def remaining_s(self) -> float | None:
        """Seconds left, at least 0; None without a deadline."""
        return None if self._end is None else max(self._end - self._clock(), 0.0)

    @property
    def passed(self) -> bool:
        """Whether answers that come now are late."""
        return self.remaining_s == 0.0

    def shorten(self, seconds: float) -> None:
        """Wait so many seconds from now at most."""
        end = self._clock() + seconds
        self._end = end if self._end is None else min(self._end, end)


class Engine(Protocol):
    """Carries invites to sites and their answers back."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites that can be asked, sorted."""
        ...

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        """Send each site its invite; yield the answers to these invites as they come, in any order.

        The iterator ends when all sites have answered, or when the deadline has passed. It must
        look at the deadline anew while it waits, since every answer may bring it forward. An answer
        that is yielded after the deadline is late, and is not used.
        """
        ...
