"""Held-out cases are judged while the rounds go on, and the best round's models are the result."""

from __future__ import annotations

import csv

import pytest

from fednnunet import records
from fednnunet.commands import train
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.workflows.train import SCORES, TrainingScores
from fednnunet.inference.bundle import read_bundle
from tests.end_to_end.tiny import TOML, make_federation, make_planned, no_pictures

BEST = TOML.replace('device = "cpu"\n', 'device = "cpu"\nvalidate_every = 1\nkeep = "best"\n')


@pytest.fixture(scope="module", autouse=True)
def _no_pictures():
    with no_pictures():
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("best")
    federation = make_federation(root, toml=BEST)
    make_planned(federation, root / "run")
    assert train.main([str(root / "run")]) == 0
    return root / "run"


def test_the_history_has_dice_of_held_out_patches_and_of_whole_cases(run):
    rows = list(csv.DictReader((run / "history.csv").open()))
    assert len(rows) == 6
    for row in rows:
        assert 0 <= float(row["held_out_dice_ball"]) <= 1
        assert 0 <= float(row["case_dice_ball"]) <= 1


def test_the_scores_say_which_round_was_used(run):
    models = {model.model: model for model in records.read(TrainingScores, run / SCORES).models}
    assert {model.keep for model in models.values()} == {"best"}
    assert set(models["global"].rounds.values()) == {3}  # whole only after the public round
    for site, number in models["personal"].rounds.items():
        (kept,) = (run / "sites" / site / "best").glob("0*")
        assert int(kept.name) == number
        assert read_bundle(kept).digest == read_bundle(run / "sites" / site / "personal").digest
        dice = [r.scores[site].mean() for r in load_records(run / "rounds") if r.phase == "joint"]
        assert number == dice.index(max(dice)) + 1


def test_what_is_given_out_is_what_was_kept(run):
    (kept,) = (run / "best").glob("0*")
    context = read_bundle(run / "global")
    assert context.note["rounds"] == str(int(kept.name))
    assert read_bundle(kept).digest == context.digest


def test_the_default_method_uses_the_best_that_its_sites_kept(tmp_path, monkeypatch):
    """Personal models of fedease, with a first round that is made the best of all."""
    federation = make_federation(tmp_path, toml=BEST.replace('"fedbn_head"', '"fedease"'))
    make_planned(federation, tmp_path / "run")
    dice = SiteScores.mean
    monkeypatch.setattr(SiteScores, "mean", lambda self, *a: next(falling, 0.0) or dice(self, *a))
    falling = iter([0.9, 0.8])
    assert train.main([str(tmp_path / "run")]) == 0
    scores = records.read(TrainingScores, tmp_path / "run" / SCORES)
    (personal,) = [model for model in scores.models if model.model == "personal"]
    assert personal.keep == "best"
    for site, number in personal.rounds.items():
        (kept,) = (tmp_path / "run" / "sites" / site / "best").glob("0*")
        assert int(kept.name) == number == 1


def test_a_method_whose_sites_judge_one_merged_model_has_personal_models_of_the_last_round(
    tmp_path,
):
    federation = make_federation(tmp_path, toml=BEST.replace('"fedbn_head"', '"similarity"'))
    make_planned(federation, tmp_path / "run")
    assert train.main([str(tmp_path / "run")]) == 0
    scores = records.read(TrainingScores, tmp_path / "run" / SCORES)
    kept = {model.model: model.keep for model in scores.models}
    assert kept == {"global": "best", "personal": "last"}


def test_a_site_that_never_judged_its_model_uses_its_last(tmp_path):
    toml = BEST.replace("validate_every = 1", "validate_every = 2")
    toml = toml.replace('folder = "north"', 'folder = "north"\nleaves = 1')
    federation = make_federation(tmp_path, toml=toml)
    make_planned(federation, tmp_path / "run")
    assert train.main([str(tmp_path / "run")]) == 0
    scores = records.read(TrainingScores, tmp_path / "run" / SCORES)
    (personal,) = [model for model in scores.models if model.model == "personal"]
    assert personal.rounds == {"north": 1, "south": 2}
