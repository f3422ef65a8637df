"""Model cards: what they say, and what they leave out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fednnunet.commands.predict import main
from fednnunet.errors import InputError
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.inference.bundle import Bundle, read_bundle
from fednnunet.inference.card import UNSTATED, amend_card, read_card, scored_of
from fednnunet.planning.plan import Plan

NewPlan = Callable[..., Plan]
NewBundle = Callable[..., Bundle]
DICE = (0.25, 0.5, 0.5, 0.875)


def scores_of(*values: float, target: str) -> SiteScores:
    """Scores with these Dice, one case each."""
    total = MetricSum()
    for value in values:
        total = total + MetricSum.of(value)
    return SiteScores(cases=len(values), targets={target: TargetSums(dice=total)})


def test_every_bundle_has_a_card_with_its_checksum(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle
) -> None:
    bundle = new_bundle(tmp_path / "b", new_plan())
    card = read_card(tmp_path / "b")
    assert card.checksum == bundle.digest
    assert (card.task, card.labels) == (bundle.plan.task.name, bundle.plan.task.labels)
    assert (card.method, card.sites, card.licence) == ("test", None, UNSTATED)
    text = (tmp_path / "b" / "CARD.md").read_text(encoding="utf-8")
    assert "was not scored" in text and "did not train" in text and bundle.digest in text


def test_an_amended_card_leaves_the_bundle_whole(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle
) -> None:
    bundle = new_bundle(tmp_path / "b", new_plan())
    target = bundle.plan.task.targets[0]
    scores = {"far | away": scores_of(*DICE, target=target)}
    amend_card(tmp_path / "b", scores=scores, sites=["one", "two"], licence="CC BY 4.0")
    assert read_bundle(tmp_path / "b").digest == bundle.digest
    text = (tmp_path / "b" / "CARD.md").read_text(encoding="utf-8")
    assert "trained by: 2 sites" in text and "CC BY 4.0" in text
    assert "far" not in text and "one" not in read_card(tmp_path / "b").site_names
    assert amend_card(tmp_path / "b").licence == "CC BY 4.0"


def test_intervals_are_those_of_student() -> None:
    sites = {"a": scores_of(*DICE[:2], target="t"), "b": scores_of(*DICE[2:], target="t")}
    scored = scored_of(sites)
    (score,) = scored.scores
    expected = stats.t.interval(0.95, 3, loc=np.mean(DICE), scale=stats.sem(DICE))
    assert (score.low, score.high) == pytest.approx(expected, abs=1e-5)
    assert score.cases == scored.cases == 4


def test_without_squares_there_is_no_interval() -> None:
    kept_back = MetricSum(count=3, total=1.5, squares=None)
    site = SiteScores(cases=3, targets={"t": TargetSums(dice=kept_back)})
    (score,) = scored_of({"a": site}).scores
    assert score.low is score.high is None and math.isclose(score.mean, 0.5)
    assert scored_of({}).scores == scored_of({"a": SiteScores.empty(("t",))}).scores == ()


def test_the_card_is_printed(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    new_bundle(tmp_path / "b", new_plan())
    assert main([str(tmp_path / "b"), "--card"]) == 0
    assert capsys.readouterr().out.startswith("# Model card: ")
    assert main([str(tmp_path / "b")]) == 2
    with pytest.raises(InputError, match="no model card"):
        read_card(tmp_path)
