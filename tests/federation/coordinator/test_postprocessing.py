"""Which rule is chosen, from scores that are known."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fednnunet.evaluation.postprocess import Postprocessing, TargetRule, for_every_target
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.federation.coordinator.postprocessing import Choice, choose_postprocessing
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ", "nodule"))
LARGEST, SMALL = TargetRule(largest=True), TargetRule(min_mm3=100.0)


def scores(organ: float, nodule: float, cases: int = 4) -> SiteScores:
    def of(dice: float) -> TargetSums:
        total = sum((MetricSum.of(dice) for _ in range(cases)), MetricSum())
        return TargetSums(dice=total)

    return SiteScores(cases=cases, targets={"organ": of(organ), "nodule": of(nodule)})


def choose(
    gains: Mapping[TargetRule, tuple[float, float]],
    *,
    foreground: tuple[float, float] = (-0.2, -0.2),
    together: float = 0.0,
) -> tuple[Choice, list[Postprocessing]]:
    """With gains for both targets of each rule; the whole gets `together` on top."""
    asked: list[Postprocessing] = []
    base = {"a": scores(0.6, 0.5), "b": scores(0.4, 0.5)}

    def score(rule: Postprocessing) -> dict[str, SiteScores]:
        asked.append(rule)
        whole = all(rule != for_every_target(TASK, r, foreground=rule.foreground) for r in gains)
        more = together if whole and rule.targets else 0.0
        found = []
        for number, name in enumerate(TASK.targets):
            gain = gains.get(rule.targets.get(name, TargetRule()), (0.0, 0.0))[number]
            found.append(gain + more + (foreground[number] if rule.foreground else 0.0))
        return {
            "a": scores(0.6 + found[0], 0.5 + found[1]),
            "b": scores(0.4 + found[0], 0.5 + found[1]),
        }

    return choose_postprocessing(TASK, base, score), asked


def test_each_target_gets_the_rule_that_helps_it_more() -> None:
    choice, asked = choose({LARGEST: (0.1, -0.3), SMALL: (0.05, 0.02)})
    assert choice.rule == Postprocessing(targets={"organ": LARGEST, "nodule": SMALL})
    assert math.isclose(choice.before["organ"], 0.5, abs_tol=1e-6)
    assert math.isclose(choice.after["organ"], 0.6, abs_tol=1e-6)
    assert len(asked) == 6 and asked[-1] == choice.rule
    assert "0.5000 without and 0.5600 with" in choice.words(TASK)
    assert "- nodule: only components of at least 100 mm3" in choice.words(TASK)


def test_without_a_gain_there_is_no_rule() -> None:
    choice, asked = choose({LARGEST: (-0.1, -0.1), SMALL: (0.0, 0.00001)})
    assert not choice.rule and len(asked) == 5
    assert "none is used" in choice.words(TASK)


def test_the_foreground_is_taken_first_if_it_harms_no_target() -> None:
    choice, asked = choose({LARGEST: (0.1, 0.0)}, foreground=(0.1, 0.0))
    assert choice.rule == Postprocessing(foreground=True, targets={"organ": LARGEST})
    assert all(rule.foreground for rule in asked)
    choice, _ = choose({}, foreground=(0.3, -0.1))
    assert not choice.rule


def test_rules_that_do_not_help_together_are_dropped() -> None:
    choice, _ = choose({LARGEST: (0.1, -0.3), SMALL: (0.0, 0.02)}, together=-0.2)
    assert not choice.rule


def test_a_site_that_keeps_a_rules_scores_back_has_no_gain_by_it() -> None:
    """It sends the sums that it gave before the rule: those of the foreground alone."""
    base = {"a": scores(0.5, 0.5)}

    def score(rule: Postprocessing) -> dict[str, SiteScores]:
        return {"a": scores(0.6, 0.6) if rule.foreground else base["a"]}

    choice = choose_postprocessing(TASK, base, score)
    assert choice.rule == Postprocessing(foreground=True)


def test_only_sites_with_both_sums_count() -> None:
    base = {"a": scores(0.5, 0.5), "b": scores(0.9, 0.9)}
    kept_back = SiteScores.empty(TASK.targets)

    def score(rule: Postprocessing) -> dict[str, SiteScores]:
        better = 0.1 if rule.targets.get("organ") == LARGEST else 0.0
        return {"a": scores(0.5 + better, 0.5), "b": kept_back}

    choice = choose_postprocessing(TASK, base, score)
    assert choice.rule.targets == {"organ": LARGEST}
    assert math.isclose(choice.before["organ"], 0.5, abs_tol=1e-6)
    assert not choose_postprocessing(TASK, {"b": scores(0.9, 0.9)}, score).rule
