"""Trials of folds count as one, over all their cases."""

from __future__ import annotations

import dataclasses

import pytest

from fednnunet.evaluation.compare_tables import markdown
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.trials import Trial, entries, over_folds


def _case(name: str, dice: float) -> CaseScores:
    score = TargetScore(
        dice=dice, iou=dice, hd95_mm=1.0, assd_mm=1.0, reference_vox=1, predicted_vox=1
    )
    return CaseScores(case=name, targets={"organ": score})


def _trial(cases: dict[str, list[CaseScores]], *, seed: int = 0, sent: int | None = 10) -> Trial:
    return Trial(
        method="fedavg",
        model="global",
        seed=seed,
        targets=("organ",),
        cases=cases,
        bytes_sent=sent,
        seconds=2.0,
    )


def test_folds_of_a_seed_become_one_trial_with_all_cases_and_costs() -> None:
    folds = [
        _trial({"north": [_case("a", 0.8)], "outside": [_case("z", 0.2)]}),
        _trial({"north": [_case("b", 0.6), _case("c", 0.1)], "outside": [_case("z", 0.4)]}),
    ]
    (whole,) = over_folds(folds)
    assert [case.case for case in whole.cases["north"]] == ["a", "b", "c"]
    assert (whole.bytes_sent, whole.seconds) == (20, 4.0)
    (entry,) = entries([whole])
    assert entry.dice == pytest.approx({"north": 0.5, "outside": 0.3})
    assert entry.cases["outside", "z"] == pytest.approx(0.3)


def test_seeds_and_models_stay_apart() -> None:
    first = _trial({"north": [_case("a", 0.8)]})
    trials = [
        first,
        _trial({"north": [_case("a", 0.6)]}, seed=1),
        dataclasses.replace(first, model="personal"),
    ]
    assert over_folds(trials) == tuple(trials)


def test_pooled_cases_send_nothing_in_any_fold() -> None:
    folds = [_trial({"north": [_case(name, 0.5)]}, sent=None) for name in "ab"]
    assert over_folds(folds)[0].bytes_sent is None


def test_means_over_sites_are_of_those_that_train_for_every_model() -> None:
    cases = {"a": [_case("x", 0.8)], "b": [_case("y", 0.6)]}
    own = dataclasses.replace(_trial(cases), model="personal", external=frozenset({"c"}))
    common = dataclasses.replace(
        _trial(cases | {"c": [_case("z", 0.1)]}), external=frozenset({"c"})
    )
    personal, everywhere = entries([own, common])
    assert personal.mean == everywhere.mean == pytest.approx(0.7)
    assert everywhere.by_seed[0] == pytest.approx(0.7)
    assert everywhere.summary.worst_site == "b"
    assert everywhere.dice["c"] == pytest.approx(0.1)
    assert "leave out c, which did not train" in markdown([everywhere], reference="fedavg")


def test_where_no_site_trains_the_mean_is_of_those_that_judge() -> None:
    only = dataclasses.replace(_trial({"c": [_case("z", 0.1)]}), external=frozenset({"c"}))
    assert entries([only])[0].mean == pytest.approx(0.1)
