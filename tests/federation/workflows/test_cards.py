"""The cards of a run's bundles are completed from its scores."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.federation.card_spec import CardSpec
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.training_spec import Training
from fednnunet.federation.workflows.cards import complete_cards
from fednnunet.federation.workflows.train import ModelScores, TrainingScores
from fednnunet.inference.card import make_card, read_card, write_card
from tests.federation.fakes import a_plan


def scores_of(dice: float) -> SiteScores:
    """Scores of four cases."""
    one = MetricSum.of(dice)
    sums = TargetSums(dice=one + one + one + one)
    return SiteScores(cases=4, targets=dict.fromkeys(a_plan().task.targets, sums))


def test_the_global_model_gets_the_scores_of_all_sites(tmp_path: Path) -> None:
    plan = a_plan()
    run = Run(name="", folder=tmp_path, plan=plan, training=Training())
    card = make_card(plan, plan.configurations[0].name, checksum="0" * 64, note={})
    write_card(tmp_path / "global", card)
    sites = {"north": scores_of(0.5), "far": scores_of(0.25)}
    model = ModelScores(model="global", method="fedavg", personal=False, sites=sites)
    own = dataclasses.replace(model, model="personal", personal=True)
    scores = TrainingScores(training_cases={"north": 5, "far": 0}, models=(own, model))
    complete_cards([run], CardSpec(licence="CC0"), scores)
    found = read_card(tmp_path / "global")
    assert (found.sites, found.site_names, found.licence) == (1, (), "CC0")
    assert found.scored is not None
    assert (found.scored.cases, found.scored.sites, found.scored.external) == (8, 2, 1)
    assert found.scored.scores[0].mean == 0.375
    assert "north" not in (tmp_path / "global" / "CARD.md").read_text()
    complete_cards([run], CardSpec(name_sites=True), scores)
    assert read_card(tmp_path / "global").site_names == ("north",)
