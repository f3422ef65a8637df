"""Scores of a site as sums over cases, which can be shared without the score of any case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from fednnunet.errors import ReplyError
from fednnunet.evaluation.metrics import METRICS, CaseScores, TargetScore
from fednnunet.ranges import AtMost, Within, check_ranges

# Values are rounded to multiples of these steps, which are far below the precision of any metric.
# Sums in float64 are then exact and do not depend on the order of cases or sites.
_STEP = 2.0**-30
_SQUARE_STEP = 2.0**-20
MAX_CASES = 10**6
_MAX_SUM = 1e18
_SHARES = ("dice", "iou")  # metrics from 0 to 1
_MEND = "evaluate again with the same version of the program and the same task at every site"

Count = Annotated[int, Within(0, MAX_CASES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSum:
    """Count, sum and sum of squares of one metric over the cases for which it is defined.

    `squares` is None where a site keeps it back, since with few cases it tells single values.
    Raises ReplyError for sums that no values of at least 0 can have.
    """

    count: Count = 0
    total: Annotated[float, Within(0, _MAX_SUM)] = 0.0
    squares: Annotated[float | None, Within(0, _MAX_SUM)] = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, ReplyError, mend=_MEND)
        if not self.count and (self.total or self.squares):
            raise ReplyError(f"a sum of {self.total:g} over no case", mend=_MEND)
        if self.squares is None:
            return
        if self.total**2 > self.count * self.squares + self._rounding:
            raise ReplyError(
                f"a sum of {self.total:g} and a sum of squares of {self.squares:g} over "
                f"{self.count} cases are a negative variance",
                mend=_MEND,
            )

    @property
    def _rounding(self) -> float:
        """How far count * squares may lie below total^2, as values are rounded."""
        return self.count**2 * _SQUARE_STEP + 2 * self.count * self.total * _STEP

    def check_shares(self) -> None:
        """Raise ReplyError unless these can be sums of values from 0 to 1."""
        slack = self.count * _SQUARE_STEP
        squares = 0.0 if self.squares is None else self.squares
        if self.total > self.count + slack or squares > self.total + slack:
            raise ReplyError(
                f"a sum of {self.total:g} and a sum of squares of {squares:g} over "
                f"{self.count} cases are not those of values from 0 to 1",
                mend=_MEND,
            )

    @classmethod
    def of(cls, value: float) -> MetricSum:
        """One case's value; NaN counts as no case."""
        if math.isnan(value):
            return cls()
        square = round(value * value / _SQUARE_STEP) * _SQUARE_STEP
        return cls(count=1, total=round(value / _STEP) * _STEP, squares=square)

    def __add__(self, other: MetricSum) -> MetricSum:
        known = self.squares is not None and other.squares is not None
        return MetricSum(
            count=self.count + other.count,
            total=self.total + other.total,
            squares=self.squares + other.squares if known else None,  # type: ignore[operator]
        )

    @property
    def mean(self) -> float:
        """Mean over cases; NaN without cases."""
        return self.total / self.count if self.count else math.nan

    @property
    def std(self) -> float:
        """Standard deviation over cases (n - 1); NaN with fewer than two, or without squares."""
        if self.count < 2 or self.squares is None:
            return math.nan
        spread = self.squares - self.total * self.total / self.count
        return math.sqrt(max(spread, 0.0) / (self.count - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSums:
    """Sums of every metric for one target, over cases."""

    dice: MetricSum = MetricSum()
    iou: MetricSum = MetricSum()
    hd95_mm: MetricSum = MetricSum()
    assd_mm: MetricSum = MetricSum()
    false_negatives: Count = 0
    """Cases that have the target, with nothing of it predicted."""
    false_positives: Count = 0
    """Cases without the target, with something of it predicted."""

    def __post_init__(self) -> None:
        check_ranges(self, ReplyError, mend=_MEND)
        for name in _SHARES:
            metric: MetricSum = getattr(self, name)
            metric.check_shares()

    @property
    def counted(self) -> int:
        """The number of cases that these sums need at least."""
        counts = [getattr(self, name).count for name in METRICS]
        return max(*counts, self.false_negatives + self.false_positives)

    @classmethod
    def of(cls, score: TargetScore) -> TargetSums:
        """The sums of one case."""
        sums = {name: MetricSum.of(getattr(score, name)) for name in METRICS}
        return cls(
            **sums,
            false_negatives=int(score.is_false_negative),
            false_positives=int(score.is_false_positive),
        )

    def __add__(self, other: TargetSums) -> TargetSums:
        sums = {name: getattr(self, name) + getattr(other, name) for name in METRICS}
        return TargetSums(
            **sums,
            false_negatives=self.false_negatives + other.false_negatives,
            false_positives=self.false_positives + other.false_positives,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteScores:
    """The scores of a set of cases: sums for each target. They merge by `+`."""

    cases: Count = 0
    targets: Annotated[dict[str, TargetSums], AtMost(4096)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self, ReplyError, mend=_MEND)
        for sums in self.targets.values():
            if sums.counted > self.cases:
                raise ReplyError(
                    f"scores of {self.cases} cases have sums over {sums.counted}", mend=_MEND
                )

    def check_targets(self, targets: Sequence[str], *, site: str, held_out: int) -> None:
        """Raise ReplyError unless a site can have these scores.

        They are of exactly these `targets`, and of at most the site's `held_out` cases.
        """
        if set(self.targets) != set(targets):
            raise ReplyError(
                f"scores of {len(self.targets)} targets, which are not the task's {len(targets)}",
                where=f"reply of site {site}",
                mend=_MEND,
            )
        if self.cases > held_out:
            raise ReplyError(
                f"scores of {self.cases} cases, where {held_out} are held out",
                where=f"reply of site {site}",
                mend=_MEND,
            )

    @classmethod
    def empty(cls, targets: Sequence[str]) -> SiteScores:
        """The scores of no cases, for a task with these targets."""
        return cls(cases=0, targets={name: TargetSums() for name in targets})

    @classmethod
    def of(cls, targets: Sequence[str], scores: Iterable[CaseScores]) -> SiteScores:
        """The sums over cases."""
        total = cls.empty(targets)
        for case in scores:
            sums = {name: TargetSums.of(case.targets[name]) for name in targets}
            total = total + cls(cases=1, targets=sums)
        return total

    def __add__(self, other: SiteScores) -> SiteScores:
        if self.targets.keys() != other.targets.keys():
            raise ReplyError(
                f"scores of {list(self.targets)} cannot be added to scores of "
                f"{list(other.targets)}",
                mend="evaluate all sites with the same task",
            )
        sums = {name: self.targets[name] + other.targets[name] for name in self.targets}
        return SiteScores(cases=self.cases + other.cases, targets=sums)

    def mean(self, metric: str = "dice", target: str | None = None) -> float:
        """Mean over cases of one target; without `target`, the mean over targets.

        Targets without a defined value do not count (nnU-Net's `foreground_mean`).
        """
        names = self.targets if target is None else (target,)
        means = [getattr(self.targets[name], metric).mean for name in names]
        defined = [mean for mean in means if not math.isnan(mean)]
        return sum(defined) / len(defined) if defined else math.nan

    def of_at_least(self, cases: int, *, squared: int = 1) -> SiteScores:
        """These scores without sums over fewer than `cases` cases; empty if there are too few.

        Sums of squares need `squared` cases.
        """
        if self.cases < cases:
            return SiteScores.empty(tuple(self.targets))
        kept = {}
        for name, sums in self.targets.items():
            metrics = {
                metric: _of_at_least(getattr(sums, metric), cases, squared) for metric in METRICS
            }
            kept[name] = TargetSums(
                **metrics,
                false_negatives=sums.false_negatives,
                false_positives=sums.false_positives,
            )
        return replace(self, targets=kept)


def _of_at_least(metric: MetricSum, cases: int, squared: int) -> MetricSum:
    if metric.count < cases:
        return MetricSum()
    return metric if metric.count >= squared else replace(metric, squares=None)
