"""The numbers of cases that sites stated for the plan, and whether they prepare as many.

A site's fingerprint counts in the plan by its number of cases, which nobody else can see. It is
kept in the run folder, `sites.json`, and compared with what the site later prepares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fednnunet import records
from fednnunet.errors import InputError, ReplyError
from fednnunet.federation.wire.messages import PrepareReply
from fednnunet.ranges import Within, check_ranges

SITES = "sites.json"
CHANGED_CASES = 4
"""By so many cases a site may differ from what it stated: it repeats its first answer while fewer
cases than its policy's `min_cases` were added or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedCases:
    """`sites.json`: the number of cases in each site's fingerprint; empty without planning."""

    cases: Annotated[dict[str, int], Within(1, 2**53)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="plan the federation again")

    @property
    def shares(self) -> Mapping[str, float]:
        """Each site's share of all cases, from 0 to 1: its weight in the merged fingerprint."""
        total = sum(self.cases.values())
        return {site: cases / total for site, cases in sorted(self.cases.items())}


def read_stated(folder: Path) -> StatedCases:
    """What sites stated when this run folder was planned; nothing where it was not planned here."""
    path = folder / SITES
    return records.read(StatedCases, path) if path.exists() else StatedCases()


def check_prepared_cases(
    stated: StatedCases, max_cases: int, site: str, reply: PrepareReply
) -> None:
    """Raise ReplyError for a site that prepares other numbers of cases than it stated.

    Cases of a test set are held out without having been stated, and at most `max_cases` (0: all)
    are trained on.
    """
    if site not in stated.cases:
        return
    number = stated.cases[site]
    prepared = reply.training_cases + reply.held_out_cases
    wanted = min(number, max_cases) if max_cases else number
    if prepared < wanted - CHANGED_CASES or reply.training_cases > number + CHANGED_CASES:
        raise ReplyError(
            f"{number} cases were stated for the plan, but {reply.training_cases} are prepared for "
            f"training and {reply.held_out_cases} for evaluation",
            where=f"site {site}",
            mend="ask the site's staff which cases have changed, and plan again, with or without "
            "this site",
        )
