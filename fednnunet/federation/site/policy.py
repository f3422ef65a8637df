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
    """A site's limits, from the site's own file."""

    min_cases: int = 5
    """A site with fewer cases does not take part."""
    min_bin_count: int = 1
    """Histogram bins with fewer cases are merged with their neighbours, and their cases counted at
    the mean. 1 keeps every bin; larger values cost accuracy in the tails."""
    min_scored_cases: int = 1
    """Sums of scores over fewer held-out cases stay at the site; a sum over one case is the score
    of that case."""
    share_model: bool = False
    """Whether the site's own model may leave the site, if a federation asks for it."""

    def __post_init__(self) -> None:
        if min(self.min_cases, self.min_bin_count, self.min_scored_cases) < 1:
            raise InputError(
                f"min_cases is {self.min_cases}, min_bin_count {self.min_bin_count}, "
                f"min_scored_cases {self.min_scored_cases}",
                mend="set each of them to 1 or more in the site's policy",
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(
            f"the site's policy is not readable TOML: {error}",
            where=str(path),
            mend="correct the line that is named, or restore the file",
        ) from None
    return records.decode(SitePolicy, data, source=str(path))
