"""The choice reaches the bundle and why.md, and sites that gave no scores are not asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import DataError
from fednnunet.evaluation.postprocess import Postprocessing, TargetRule
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.federation.coordinator.engine import Answer
from fednnunet.federation.coordinator.validation import global_invite
from fednnunet.federation.wire.messages import EvaluateReply, pack, unpack
from fednnunet.federation.workflows.postprocessing import decide_postprocessing
from fednnunet.inference.bundle import read_bundle, write_bundle
from fednnunet.training.initial import initial_tensors
from tests.federation.fakes import a_run

LARGEST = TargetRule(largest=True)


def scores(dice: float) -> SiteScores:
    sums = TargetSums(dice=MetricSum.of(dice))
    return SiteScores(cases=1, targets={"a": sums})


class Scoring:
    """Sites whose Dice is 0.5, and `better` with the largest component of the target."""

    sites = ("a", "b", "c")

    def __init__(self, better: float, silent: str = "") -> None:
        self.better, self.silent = better, silent
        self.asked: list[str] = []

    def ask(self, invites, deadline):
        for site, invite in invites.items():
            assert unpack(pack(invite), sender="the coordinator").rule == invite.rule
            self.asked.append(site)
            if site == self.silent:
                yield Answer(site=site, error=DataError("the disk is full"))
                continue
            dice = self.better if invite.rule.targets.get("a") == LARGEST else 0.5
            yield Answer(site=site, reply=EvaluateReply(scores=scores(dice), round=invite.round))


def decide(folder: Path, engine: Scoring, **settings):
    run = a_run(folder, postprocessing=True, **settings)
    weights = initial_tensors(run.plan, "3d_fullres", seed=0)
    before = write_bundle(
        folder / "global", plan=run.plan, configuration="3d_fullres", weights=weights
    )
    asked = dict.fromkeys(engine.sites, global_invite(run, weights, 4))
    found = {site: scores(0.5) for site in ("a", "b")}
    choice = decide_postprocessing(engine, run, asked, found, dict.fromkeys(engine.sites, 2))
    return before, choice


def test_a_rule_that_helps_travels_in_the_bundle_and_stands_in_why(tmp_path: Path) -> None:
    (tmp_path / "why.md").write_text("# Plan\n\nReasons.\n")
    engine = Scoring(0.75)
    for _ in range(2):  # a training that is run again decides again
        before, choice = decide(tmp_path, engine)
        assert choice.rule == Postprocessing(targets={"a": LARGEST})
        bundle = read_bundle(tmp_path / "global")
        assert bundle.postprocessing == choice.rule and bundle.digest != before.digest
        text = (tmp_path / "why.md").read_text()
        assert text.startswith("# Plan\n\nReasons.\n\n## Post-processing of masks\n")
        assert text.count("## Post-processing") == 1 and "0.5000 without and 0.7500" in text
    assert set(engine.asked) == {"a", "b"}


def test_without_a_gain_the_bundle_stays_as_it_is(tmp_path: Path) -> None:
    before, choice = decide(tmp_path, Scoring(0.25))
    bundle = read_bundle(tmp_path / "global")
    assert not choice.rule and not bundle.postprocessing and bundle.digest == before.digest
    assert "none is used" in (tmp_path / "why.md").read_text()


def test_a_site_that_fails_ends_it_unless_a_quorum_suffices(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        decide(tmp_path / "all", Scoring(0.75, silent="b"))
    _, choice = decide(tmp_path / "one", Scoring(0.75, silent="b"), quorum=1)
    assert choice.rule
