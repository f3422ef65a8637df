"""What joint training brought a site: differences in Dice over its held-out cases, as figures.

A difference is that of one case by two models, joint training minus training alone. Only figures of
all cases together can be shared; those from which squares follow need more cases than the others.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fednnunet.errors import ReplyError
from fednnunet.evaluation.paired import t_interval
from fednnunet.evaluation.scores import MAX_CASES
from fednnunet.ranges import Within, check_ranges

_DIGITS = 6
_SLACK = 1e-5  # a case, as figures are rounded
_MEND = "evaluate again with the same version of the program and the same task at every site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Differences in the Dice of cases between joint training and training alone.

    `better` and `worse` count the cases with a difference above and below 0. `std` is the standard
    deviation over cases (n - 1), None where a site keeps it back. Raises ReplyError for figures
    that no differences from -1 to 1 have.
    """

    cases: Annotated[int, Within(1, MAX_CASES)]
    mean: Annotated[float, Within(-1, 1)]
    better: Annotated[int, Within(0, MAX_CASES)]
    worse: Annotated[int, Within(0, MAX_CASES)]
    std: Annotated[float | None, Within(0, 2)] = None

    def __post_init__(self) -> None:
        check_ranges(self, ReplyError, mend=_MEND)
        total, slack = self.cases * self.mean, self.cases * _SLACK
        squares = total * self.mean + (self.cases - 1) * (self.std or 0.0) ** 2
        changed = self.better + self.worse
        fits = changed <= self.cases and -self.worse - slack <= total <= self.better + slack
        if not fits or squares > changed + slack:
            raise ReplyError(
                f"a mean difference in Dice of {self.mean:g} over {self.cases} cases, of which "
                f"{self.better} are better and {self.worse} worse, does not exist",
                mend=_MEND,
            )

    @classmethod
    def of(cls, differences: Sequence[float], *, squared: int) -> Gain:
        """The figures of at least one difference; the standard deviation needs `squared` cases."""
        count = len(differences)
        spread = statistics.stdev(differences) if count >= max(squared, 2) else None
        return cls(
            cases=count,
            mean=round(statistics.fmean(differences), _DIGITS),
            better=sum(difference > 0 for difference in differences),
            worse=sum(difference < 0 for difference in differences),
            std=None if spread is None else round(spread, _DIGITS),
        )

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean over cases; None without a standard deviation."""
        found = mean_gain([self])
        return None if found is None else (found.low, found.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanGain:
    """The mean difference over all `cases` of some `sites`, and its 95 % interval."""

    mean: float
    low: float
    high: float
    cases: int
    sites: int


def mean_gain(gains: Iterable[Gain]) -> MeanGain | None:
    """The mean over the cases of all sites that sent a standard deviation; None without any.

    The interval takes the sites as they are: it is over cases, within each site.
    """
    known = [(g.cases, g.mean, g.std) for g in gains if g.std is not None and g.cases > 1]
    if not known:
        return None
    cases = sum(count for count, _, _ in known)
    mean = math.fsum(count * mean for count, mean, _ in known) / cases
    half = t_interval([(count, std) for count, _, std in known])
    return MeanGain(mean=mean, low=mean - half, high=mean + half, cases=cases, sites=len(known))
