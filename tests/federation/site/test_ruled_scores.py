"""Sums for a rule are those without it unless it changes enough cases."""

from __future__ import annotations

from pathlib import Path

from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.site.ruled_scores import FILE_NAME
from tests.federation.site.ruled import (
    FOREGROUND,
    TASK,
    WITHOUT,
    changed,
    released,
    scores,
    uniform,
)

BASE = SiteScores.of(TASK.targets, scores(WITHOUT))


def test_a_rule_that_changes_enough_cases_is_scored_and_again_the_same(tmp_path: Path) -> None:
    after = scores(changed(WITHOUT, dict.fromkeys(range(5), 0.9)))
    found = released(tmp_path, uniform(0), scores(WITHOUT), after)
    assert found == SiteScores.of(TASK.targets, after) != BASE
    record = (tmp_path / FILE_NAME).read_bytes()
    assert released(tmp_path, uniform(0), scores(WITHOUT), after) == found
    assert (tmp_path / FILE_NAME).read_bytes() == record


def test_each_target_is_judged_by_its_own_cases(tmp_path: Path) -> None:
    organ = changed(WITHOUT, dict.fromkeys(range(4), 0.9))
    lesion = changed(WITHOUT, dict.fromkeys(range(6), 0.9))
    found = released(tmp_path, uniform(0), scores(WITHOUT), scores(organ, lesion))
    assert found.targets["organ"] == BASE.targets["organ"]
    assert (
        found.targets["lesion"]
        == SiteScores.of(TASK.targets, scores(organ, lesion)).targets["lesion"]
    )


def test_a_rule_on_top_of_the_foreground_falls_back_to_the_foreground(tmp_path: Path) -> None:
    """So its gain over the foreground alone is none, instead of a loss of the foreground's."""
    base = scores(changed(WITHOUT, dict.fromkeys(range(8), 0.9)))
    foreground = released(tmp_path, FOREGROUND, scores(WITHOUT), base)
    after = scores(changed(WITHOUT, dict.fromkeys(range(9), 0.9)))
    found = released(tmp_path, uniform(1, foreground=True), scores(WITHOUT), after)
    assert found == foreground != BASE


def test_another_model_is_compared_as_well(tmp_path: Path) -> None:
    """As after an extension of the training; all of its cases differ."""
    after = changed(WITHOUT, dict.fromkeys(range(5), 0.9))
    released(tmp_path, uniform(0), scores(WITHOUT), scores(after))
    better = [value + 0.001 for value in WITHOUT]
    found = scores(changed(better, dict.fromkeys(range(5), 0.95)))
    sums = released(tmp_path, uniform(0), scores(better), found, number=2)
    assert sums == SiteScores.of(TASK.targets, found)
