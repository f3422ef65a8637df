"""Scores of a site as sums over cases, which can be shared without the score of any case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from fednnunet.errors import ReplyError
from fednnunet.evaluation.metrics import METRICS, CaseScores, TargetScore

# Values are rounded to multiples of these steps, which are far below the precision of any metric.
# Sums in float64 are then exact and do not depend on the order of cases or sites.
_STEP = 2.0**-30
_SQUARE_STEP = 2.0**-20


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSum:
    """Count, sum and sum of squares of one metric over the cases for which it is defined.

    `squares` is None where a site keeps it back, since with few cases it tells single values.
    """

    count: int = 0
    total: float = 0.0
    squares: float | None = 0.0

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
    false_negatives: int = 0
    """Cases that have the target, with nothing of it predicted."""
    false_positives: int = 0
    """Cases without the target, with something of it predicted."""

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

    cases: int = 0
    targets: dict[str, TargetSums] = field(default_factory=dict)

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
