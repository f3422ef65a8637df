"""Scores of masks after post-processing, so that no sums tell what a rule did to a few cases.

Sums of scores of one model without a rule and with it differ by the scores of the cases that the
rule changes. A site therefore keeps the scores of single cases that entered each sum it gave for a
rule. The scores of a target after another rule enter a sum only if every difference of this sum to
earlier ones, and to the sum without a rule, covers no case or at least `min_cases`. Otherwise the
scores before the rule are summed instead: those without any, or those that were given for the
foreground alone. Such a reply is that of a rule which changes nothing, so it has no gain.

The differences are those of two sums, and of more sums of the last rules, each added or subtracted
once. The record stays at the site.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from fednnunet import records
from fednnunet.evaluation.metrics import METRICS, CaseScores, TargetScore
from fednnunet.evaluation.postprocess import Postprocessing
from fednnunet.evaluation.scores import MetricSum

FILE_NAME = "ruled_scores.json"
_TOGETHER = 6  # the newest sums that are combined: those for the rules of one model

Scores = Sequence[CaseScores]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Score:
    """What sums take of the score of one target; None where a metric is not defined."""

    dice: float | None
    iou: float | None
    hd95_mm: float | None
    assd_mm: float | None
    reference_vox: int
    predicted_vox: int

    @classmethod
    def of(cls, score: TargetScore) -> _Score:
        found = {name: getattr(score, name) for name in METRICS}
        metrics = {name: None if math.isnan(value) else value for name, value in found.items()}
        return cls(**metrics, reference_vox=score.reference_vox, predicted_vox=score.predicted_vox)

    def score(self) -> TargetScore:
        return TargetScore(
            dice=_nan(self.dice),
            iou=_nan(self.iou),
            hd95_mm=_nan(self.hd95_mm),
            assd_mm=_nan(self.assd_mm),
            reference_vox=self.reference_vox,
            predicted_vox=self.predicted_vox,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """The scores of single cases, by case and target, of which the sums for a rule were given."""

    rule: Postprocessing
    round: int
    cases: dict[str, dict[str, _Score]]

    def scores(self) -> tuple[CaseScores, ...]:
        return tuple(
            CaseScores(case=case, targets={name: one.score() for name, one in targets.items()})
            for case, targets in self.cases.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """`ruled_scores.json`: all that were given, oldest first."""

    given: tuple[_Given, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRelease:
    """Which scores of the model after `round` rounds may be summed for a `rule`."""

    folder: Path
    rule: Postprocessing
    round: int
    min_cases: int

    def release(self, without: Scores, after: Scores) -> tuple[CaseScores, ...]:
        """The scores to sum: of each target those `after` the rule, or those before it.

        `without` are those of the same masks without any rule. What is given is written down first.
        """
        path = self.folder / FILE_NAME
        given = records.read(_Record, path).given if path.is_file() else ()
        earlier = [one.scores() for one in given]
        before = self._before(without, given)
        targets = sorted({name for score in after for name in score.targets})
        safe = {name for name in targets if self._is_safe(name, after, [without, *earlier])}
        kept = {score.case: score.targets for score in before}
        released = tuple(
            CaseScores(
                case=score.case,
                targets={
                    name: one if name in safe else kept[score.case][name]
                    for name, one in score.targets.items()
                },
            )
            for score in after
        )
        now = _Given(
            rule=self.rule,
            round=self.round,
            cases={
                score.case: {name: _Score.of(one) for name, one in score.targets.items()}
                for score in released
            },
        )
        if now not in given:
            records.write(_Record(given=(*given, now)), path)
        return released

    def _before(self, without: Scores, given: Sequence[_Given]) -> Scores:
        """The scores that the rule for targets is tried on top of: they have left already."""
        foreground = Postprocessing(foreground=True)
        for one in reversed(given):
            same = one.cases.keys() == {score.case for score in without}
            if self.rule.foreground and one.rule == foreground and one.round == self.round and same:
                return one.scores()
        return without

    def _is_safe(self, target: str, after: Scores, others: Sequence[Scores]) -> bool:
        """Whether no combination of sums with that of `after` covers a few cases only."""
        columns = [
            {s.case: s.targets[target] for s in each if target in s.targets} for each in others
        ]
        columns.append({score.case: score.targets[target] for score in after})
        names = sorted(set().union(*columns))
        weights = _combinations(len(columns) - 1)
        for metric in METRICS:
            values = np.array(
                [
                    [
                        getattr(column[case], metric) if case in column else math.nan
                        for column in columns
                    ]
                    for case in names
                ]
            )
            defined = ~np.isnan(values)
            totals = np.vectorize(lambda value: MetricSum.of(value).total, otypes=[float])(values)
            differing = totals @ weights != 0
            changed = differing | (defined.astype(float) @ weights != 0)
            for cases in (differing.sum(0), changed.sum(0)):
                if ((cases > 0) & (cases < self.min_cases)).any():
                    return False
        return True


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _combinations(earlier: int) -> np.ndarray:
    """Weights (sums, combinations) of the `earlier` sums and the newest: each column adds up to 0.

    The newest minus any other, and the newest with the first and the last few others.
    """
    pairs = -np.eye(earlier)
    chosen = [0, *range(max(1, earlier - _TOGETHER + 1), earlier)]
    together = [signs for signs in product((-1, 0, 1), repeat=len(chosen)) if sum(signs) == -1]
    combined = np.zeros((earlier, len(together)))
    combined[chosen] = np.array(together, float).T
    both = np.concatenate([pairs, combined], axis=1)
    return np.concatenate([both, np.ones((1, both.shape[1]))])
