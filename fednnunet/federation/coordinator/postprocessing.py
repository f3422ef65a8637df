"""Which post-processing helps a model, decided over all sites by sums of their Dice.

As nnU-Net decides it on pooled cases: a rule is taken where the mean Dice over held-out cases is
higher with it. The sites score one model several times, each time by another rule that they know
(`evaluation.postprocess`), and send the sums that they send of any model. Sums with and without a
rule are compared at the sites that gave both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fednnunet.evaluation.postprocess import (
    TRIED,
    Postprocessing,
    TargetRule,
    for_every_target,
)
from fednnunet.evaluation.scores import MetricSum, SiteScores
from fednnunet.task import Task

Scores = Mapping[str, SiteScores]
_GAIN = 1e-4  # of the Dice; less is not worth a rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The rule that was chosen, and the mean Dice of each target without it and with it."""

    rule: Postprocessing
    before: dict[str, float]
    after: dict[str, float]

    def words(self, task: Task) -> str:
        """The choice as Markdown, for `why.md`."""
        if not self.rule:
            return (
                "No rule raises the mean Dice over the held-out cases of all sites: none is used."
            )
        lines = [f"- {line}" for line in self.rule.words(task)]
        figures = [
            f"{sum(means.values()) / max(len(means), 1):.4f}" for means in (self.before, self.after)
        ]
        return "\n".join(
            [
                f"The mean Dice over the held-out cases of all sites is {figures[0]} without and "
                f"{figures[1]} with these rules. Of each mask is kept:",
                "",
                *lines,
            ]
        )


def choose_postprocessing(
    task: Task, without: Scores, score: Callable[[Postprocessing], Scores]
) -> Choice:
    """The rule for masks of a model that has the scores `without` any; `score` gives others'.

    First the largest component of all foreground, then a rule for each target on top of it. What
    was chosen is scored once more as a whole, and dropped if any target is worse by it.
    """
    foreground = Postprocessing(foreground=True)
    with_foreground = score(foreground)
    helps = _helps(without, with_foreground)
    base, usual = (with_foreground, foreground) if helps else (without, Postprocessing())
    best: dict[str, tuple[float, TargetRule]] = {}
    for rule in TRIED:
        scores = score(for_every_target(task, rule, foreground=usual.foreground))
        for target, (before, after) in _means(base, scores).items():
            gain = after - before
            if gain > max(_GAIN, best.get(target, (0.0, rule))[0]):
                best[target] = gain, rule
    chosen = Postprocessing(
        foreground=usual.foreground, targets={name: rule for name, (_, rule) in best.items()}
    )
    if not chosen:
        return _none(without)
    final = score(chosen)
    if not _helps(without, final):
        return _none(without)
    means = _means(without, final)
    return Choice(
        rule=chosen,
        before={target: before for target, (before, _) in means.items()},
        after={target: after for target, (_, after) in means.items()},
    )


def _none(scores: Scores) -> Choice:
    before = {target: mean for target, (mean, _) in _means(scores, scores).items()}
    return Choice(rule=Postprocessing(), before=before, after=before)


def _helps(without: Scores, scores: Scores) -> bool:
    """Whether the mean over targets is higher, and no target's is lower."""
    gains = [after - before for before, after in _means(without, scores).values()]
    return bool(gains) and sum(gains) / len(gains) > _GAIN and min(gains) >= -_GAIN


def _means(without: Scores, scores: Scores) -> dict[str, tuple[float, float]]:
    """The mean Dice of each target without and with a rule, over the cases of sites with both."""
    found: dict[str, tuple[float, float]] = {}
    sites = sorted(without.keys() & scores.keys())
    targets = sorted({name for site in sites for name in without[site].targets})
    for target in targets:
        before, after = MetricSum(), MetricSum()
        for site in sites:
            ours, theirs = (each[site].targets[target].dice for each in (without, scores))
            if ours.count and theirs.count:
                before, after = before + ours, after + theirs
        if before.count:
            found[target] = before.mean, after.mean
    return found
