"""A site's own limits on what it shares, from a file that the coordinator cannot change."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from fednnunet import records
from fednnunet.errors import InputError

FILE_NAME = "site.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePolicy:
    """A site's limits, from the site's own file.

    A site with fewer than `min_cases` cases does not answer. A histogram bin that fewer than
    `min_bin_count` cases fall into is joined with its neighbours until it holds enough; the joined
    cases count as their mean. 1 keeps every bin as it is; more costs accuracy in the tails. Sums of
    scores over fewer than `min_scored_cases` held-out cases stay at the site: over a single case
    they are that case's. Only with `share_model` does the site's own model leave it, where a
    federation asks for it.
    """

    min_cases: int = 5
    min_bin_count: int = 1
    min_scored_cases: int = 1
    share_model: bool = False

    def __post_init__(self) -> None:
        if min(self.min_cases, self.min_bin_count, self.min_scored_cases) < 1:
            raise InputError(
                f"min_cases is {self.min_cases}, min_bin_count {self.min_bin_count}, "
                f"min_scored_cases {self.min_scored_cases}",
                mend="each is at least 1",
            )

    @property
    def required_cases(self) -> int:
        """The fewest cases with which the site answers: a bin holds at most all of its cases."""
        return max(self.min_cases, self.min_bin_count)


def read_policy(path: Path | None, folder: Path) -> SitePolicy:
    """The policy in `path`, else in `site.toml` of the site's folder, else the default limits."""
    path = path or folder / FILE_NAME
    if not path.is_file():
        return SitePolicy()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"the site's policy is not readable TOML: {error}",
            where=str(path),
            mend="correct that line",
        ) from None
    return records.decode(SitePolicy, data, source=str(path))
