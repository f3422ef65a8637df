"""The record of the sets of held-out cases over which scores have left; see also the attacks."""

from __future__ import annotations

import pytest

from fednnunet import records
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.federation.site.scored_cases import (
    FILE_NAME,
    ScoredSet,
    ScoredSets,
    ScoreRelease,
)

TARGETS = ("a", "b")


def a_set(*cases: str, b: tuple[str, ...] = ()) -> ScoredSet:
    return ScoredSet(cases=cases, targets={"a": cases, "b": b})


def scores(cases: int) -> SiteScores:
    sums = TargetSums(dice=MetricSum(count=cases, total=0.5, squares=0.25))
    return SiteScores(cases=cases, targets=dict.fromkeys(TARGETS, sums))


def test_the_same_cases_are_scored_as_often_as_asked_and_written_once(tmp_path):
    release = ScoreRelease(folder=tmp_path, min_cases=2)
    for _ in range(3):
        found = release.release(scores(3), a_set("x", "y", "z"))
        assert (found.scores, found.warning) == (scores(3), "")
    assert records.read(ScoredSets, tmp_path / FILE_NAME).sets == (a_set("x", "y", "z"),)


@pytest.mark.parametrize(
    ("now", "given"),
    [
        (("w", "x", "y", "z"), False),
        (("x", "y"), False),
        (("w", "x", "y"), False),
        (("v", "w", "x", "y", "z"), True),
        (("x",), True),
        (("v", "w", "x"), True),
    ],
)
def test_scores_leave_where_enough_cases_came_or_went(tmp_path, now, given):
    release = ScoreRelease(folder=tmp_path, min_cases=2)
    release.release(scores(3), a_set("x", "y", "z"))
    found = release.release(scores(len(now)), a_set(*now))
    assert (found.scores.cases > 0) is given is not bool(found.warning)
    assert len(records.read(ScoredSets, tmp_path / FILE_NAME).sets) == 1 + given


def test_a_target_that_was_withheld_is_not_written_down(tmp_path):
    release = ScoreRelease(folder=tmp_path, min_cases=2)
    release.release(scores(2), a_set("u", "v", b=("u",)))
    found = release.release(scores(4), a_set("u", "v", "w", "x", b=("u", "w")))
    assert found.scores.targets == {"a": scores(4).targets["a"], "b": TargetSums()}
    last = records.read(ScoredSets, tmp_path / FILE_NAME).sets[-1]
    assert last.targets.keys() == {"a"}
    again = release.release(scores(6), a_set(*"stuvwx", b=("u", "w", "x")))
    assert not again.warning and again.scores == scores(6)


def test_a_site_that_shares_scores_of_single_cases_withholds_none(tmp_path):
    release = ScoreRelease(folder=tmp_path, min_cases=1)
    for cases in (("x",), ("x", "y"), ("y",)):
        found = release.release(scores(len(cases)), a_set(*cases))
        assert found.scores.cases == len(cases) and not found.warning
