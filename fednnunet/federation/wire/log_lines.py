"""Lines of the coordinator's log of rounds, and what their entries say of each round."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fednnunet import records
from fednnunet.errors import FedNNUNetError, ReplyError
from fednnunet.federation.wire.chain_checks import as_entry
from fednnunet.federation.wire.round_log import INVITED, MERGED, Invited, Merged

_KINDS: dict[str, type[Invited] | type[Merged]] = {INVITED: Invited, MERGED: Merged}

Round = tuple[str, int]
"""A run by its name, and one of its rounds, counted from 0."""


@dataclass(frozen=True)
class LogLines:
    """At least one line, in order; they were checked to hold together."""

    lines: tuple[bytes, ...]

    @cached_property
    def entries(self) -> tuple[tuple[int, Invited | Merged | None], ...]:
        """Each line's number and content; None for a kind that this version does not know.

        Raises ReplyError for an entry that cannot be read.
        """
        return tuple(_read(line) for line in self.lines)

    @property
    def last(self) -> Invited | Merged | None:
        """What the last line says."""
        return self.entries[-1][1]

    @property
    def last_number(self) -> int:
        """The number of the last line."""
        return self.entries[-1][0]

    @cached_property
    def invited(self) -> dict[Round, int]:
        """The number of the first line with which each round of each run began."""
        found = [(entry, number) for number, entry in self.entries if isinstance(entry, Invited)]
        return {(entry.run, entry.round): number for entry, number in reversed(found)}

    @cached_property
    def asked(self) -> dict[Round, Invited]:
        """What the sites were sent in each round, by its last line."""
        found = (entry for _, entry in self.entries if isinstance(entry, Invited))
        return {(entry.run, entry.round): entry for entry in found}

    @cached_property
    def merged(self) -> dict[Round, Merged]:
        """What came of each round, by its last line."""
        found = (entry for _, entry in self.entries if isinstance(entry, Merged))
        return {(entry.run, entry.round): entry for entry in found}

    def line(self, number: int) -> bytes | None:
        """The line with this number, if it is here."""
        place = number - self.entries[0][0]
        return self.lines[place] if 0 <= place < len(self.lines) else None


def _read(line: bytes) -> tuple[int, Invited | Merged | None]:
    entry = as_entry(line)
    number, kind = int(str(entry.get("number"))), _KINDS.get(str(entry.get("kind")))
    if kind is None:
        return number, None
    try:
        return number, records.decode(kind, entry.get("about"), source="the coordinator's log")
    except FedNNUNetError:
        raise ReplyError(
            f"line {number} of the coordinator's log cannot be read",
            where="the coordinator's log",
            mend="give coordinator and sites the same version of the program",
        ) from None
