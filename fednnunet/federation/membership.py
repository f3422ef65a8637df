"""When a site is a member of its federation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fednnunet.errors import InputError

Selection = Literal["random", "loss"]
"""How the sites of a round are chosen; see `coordinator.participation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A site that trains: its training cases, and the first and last round (from 1) it is in.

    `iterations` is its own number of local iterations in a round (none: the federation's).
    """

    cases: int = 1
    joins: int = 1
    leaves: int | None = None
    iterations: int | None = None

    def is_in(self, number: int) -> bool:
        """Whether the site is a member in round `number`, counted from 0."""
        return self.joins <= number + 1 and not self.has_left(number)

    def has_left(self, number: int) -> bool:
        """Whether the site has left before round `number`, counted from 0."""
        return self.leaves is not None and number + 1 > self.leaves


def present(members: Mapping[str, Member], number: int) -> tuple[str, ...]:
    """The members in round `number` (from 0), sorted; raises InputError if there is none."""
    found = tuple(sorted(name for name, member in members.items() if member.is_in(number)))
    if not found:
        raise InputError(
            f"no site takes part in round {number + 1}",
            where="sites.NAME.joins and sites.NAME.leaves",
            mend="let a site join earlier or leave later, or give fewer rounds of that phase",
        )
    return found
