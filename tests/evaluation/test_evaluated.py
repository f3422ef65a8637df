"""What is made of the scores of every case."""

from __future__ import annotations

import pytest

from fednnunet.evaluation.evaluated import ALL, Evaluation
from fednnunet.task import Task
from tests.evaluation.made_up import a_case

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ"))
CASES = {"a": (a_case("x", 0.5), a_case("y", 0.7)), "b": (a_case("z", 0.2),)}


def test_the_mean_gives_each_site_the_same_weight() -> None:
    found = Evaluation(task=TASK, cases=CASES)
    assert found.mean() == pytest.approx(0.4)
    dice = found.statistics.all_cases.targets["organ"].metrics["dice"]
    assert dice.mean == pytest.approx(1.4 / 3)
    assert found.image_level == {}


def test_presence_is_scored_at_each_site_and_over_all() -> None:
    presence = {"x": {"organ": True}, "z": {"organ": False}}
    found = Evaluation(task=TASK, cases=CASES, presence=presence).image_level
    assert {site: (own["organ"].present, own["organ"].absent) for site, own in found.items()} == {
        "a": (1, 0),
        "b": (0, 1),
        ALL: (1, 1),
    }


def test_patients_with_several_cases_are_counted_once() -> None:
    found = Evaluation(task=TASK, cases=CASES, patients={"a": {"x": "p", "y": "p"}}).statistics
    assert (found.sites["a"].cases, found.sites["a"].patients) == (2, 1)
    assert found.all_cases.patients == 2
