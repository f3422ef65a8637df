"""Scores of cases whose Dice is known, without a rule and after one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.postprocess import TRIED, Postprocessing, TargetRule, for_every_target
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.site.ruled_scores import RuleRelease
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ", "lesion"))
FOREGROUND = Postprocessing(foreground=True)
WITHOUT = [0.5 + number / 100 for number in range(20)]


def uniform(number: int, *, foreground: bool = False) -> Postprocessing:
    """One of the tried rules for every target."""
    rule: TargetRule = TRIED[number]
    return for_every_target(TASK, rule, foreground=foreground)


def a_score(dice: float, *, reference: bool = True) -> TargetScore:
    """A score with distances where both masks have the target; NaN is a target in neither."""
    distance = 10 * dice if dice and reference else math.nan
    return TargetScore(
        dice=dice,
        iou=dice,
        hd95_mm=distance,
        assd_mm=distance,
        reference_vox=9 * reference,
        predicted_vox=9 if dice > 0 or not (reference or math.isnan(dice)) else 0,
    )


def scores(organ: Sequence[float], lesion: Sequence[float] = WITHOUT) -> list[CaseScores]:
    """Cases with these Dice; the organ is in the reference unless its Dice is NaN."""
    return [
        CaseScores(case=f"case_{number:02d}", targets={"organ": a_score(a), "lesion": a_score(b)})
        for number, (a, b) in enumerate(zip(organ, lesion, strict=False))
    ]


def changed(dice: Sequence[float], by: Mapping[int, float]) -> list[float]:
    """The Dice with those of some cases replaced."""
    return [by.get(number, value) for number, value in enumerate(dice)]


def released(
    folder: Path,
    rule: Postprocessing,
    without: Sequence[CaseScores],
    after: Sequence[CaseScores],
    *,
    number: int = 1,
) -> SiteScores:
    """The sums that a site with a limit of 5 cases gives for the rule."""
    release = RuleRelease(folder=folder, rule=rule, round=number, min_cases=5)
    return SiteScores.of(TASK.targets, release.release(without, after))
