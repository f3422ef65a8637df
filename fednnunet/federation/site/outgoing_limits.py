"""How much may leave a site in all: numbers of messages and bytes, counted in its ledger.

The same bytes sent again tell nothing new, so as messages they count once. Faults always leave:
they hold codes only. A reply under masks counts as one without (`TrainReply`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fednnunet.errors import RefusalError
from fednnunet.federation.site.policy import OutgoingLimits
from fednnunet.federation.wire import chain
from fednnunet.federation.wire.chain import digest
from fednnunet.federation.wire.messages import FaultReply

_GIB = 2**30
_NEARLY = 0.9  # of a limit, from which on the site's log tells what has left


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What of one limit is used, with the `message` that is about to leave, in the same unit."""

    what: str
    used: float
    limit: float
    message: float

    @property
    def nearly(self) -> bool:
        """Whether to say so now: little is left, or enough for one more such message only."""
        return self.used >= _NEARLY * self.limit or self.used + 2 * self.message > self.limit

    @property
    def words(self) -> str:
        """For the log, such as "9 of 10 TrainReply"."""
        return f"{self.used:,.3g} of {self.limit:,.3g} {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingCheck:
    """The limits of a site's policy, and the `ledger` that shows what is used of them."""

    ledger: Path
    limits: OutgoingLimits | None
    log: Callable[[str], None]

    def check(self, kind: str, data: bytes) -> None:
        """Raise RefusalError if a message may not leave any more; the log tells what is left."""
        if self.limits is None or kind == FaultReply.__name__:
            return
        spent = tuple(self._spent(self.limits, kind, data))
        for one in spent:
            if one.used > one.limit:
                raise RefusalError(
                    f"the limits of the site's policy are reached: {one.words} would have left",
                    where="outgoing in the site's policy",
                    mend="raise the limit if more may leave, or let the site leave the training",
                )
        if nearly := [one.words for one in spent if one.nearly]:
            self.log(f"outgoing: {', '.join(nearly)} have left")

    def _spent(self, limits: OutgoingLimits, kind: str, data: bytes) -> Iterator[Spent]:
        entries = chain.read(self.ledger)
        if limits.max_gib:
            sent = sum(int(str(entry.get("bytes", 0))) for entry in entries) + len(data)
            size = len(data) / _GIB
            yield Spent(what="GiB", used=sent / _GIB, limit=limits.max_gib, message=size)
        for name in {kind, _plain(kind)} & limits.max_messages.keys():
            of_kind = (e for e in entries if name in (e.get("message"), _plain(e.get("message"))))
            count = len({str(entry.get("sha256")) for entry in of_kind} | {digest(data)})
            yield Spent(what=name, used=count, limit=limits.max_messages[name], message=1)


def _plain(kind: object) -> str:
    """The kind of a message, or of the one without masks in its place."""
    return str(kind).removeprefix("Masked")
