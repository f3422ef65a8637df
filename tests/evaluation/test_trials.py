"""Trials of folds count as one, over all their cases."""

from __future__ import annotations

import dataclasses

import pytest

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
