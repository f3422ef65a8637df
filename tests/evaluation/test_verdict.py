"""What a report says first."""

from __future__ import annotations

from fednnunet.evaluation.gains import Gain
from fednnunet.evaluation.verdict import best_model, federation_verdict, site_verdict

NAN = float("nan")
DICE = {
    "global": {"a": 0.5, "b": 0.6, "c": 0.6, "out": 0.9},
    "personal": {"a": 0.9, "b": 0.8, "c": 0.6},
    "local": {"a": 0.7, "b": 0.7, "c": 0.7},
}
CASES = {"a": 20, "b": 9, "c": 12, "out": 3}


def test_it_says_at_how_many_sites_joining_helped() -> None:
    found = federation_verdict(DICE, CASES, external={"out"})
    assert found.headline == (
        "Joining helped 2 of 3 sites and harmed c; the global model is worse than training alone "
        "at all 3"
    )
    text = " ".join(found.lines)
    assert "Training alone: mean Dice 0.700 over 3 sites" in text
    assert "Fewer than 10 held-out cases at b, out" in text
    assert any(step.startswith("c: training alone is better") for step in found.steps)


def test_differences_that_sites_send_give_the_headline_an_interval() -> None:
    rows = {"a": [0.2, 0.18, 0.22] * 4, "b": [0.1, 0.12] * 5, "c": [-0.1, 0.1, -0.3]}
    sent = {site: Gain.of(values, squared=10) for site, values in rows.items()}
    found = federation_verdict(DICE, CASES, external={"out"}, gains={"personal": sent})
    assert found.headline.startswith(
        "Joining helped 2 of 3 sites and harmed c (on average +0.159 Dice, 95 % interval +0.1"
    )
    assert "over 22 held-out cases at 2 sites)" in found.headline
    told = "Of 25 held-out cases at 3 sites, 23 have a higher Dice than by training alone and 2"
    assert any(line.startswith(told) for line in found.lines)
    few = federation_verdict(DICE, CASES, external={"out"}, gains={"personal": {"c": sent["c"]}})
    assert "interval" not in few.headline


def test_small_differences_are_called_small() -> None:
    dice = {"global": {"a": 0.701, "b": 0.9}, "local": {"a": 0.7, "b": 0.7}}
    found = federation_verdict(dice, {"a": 20, "b": 20})
    assert found.headline == "Joining helped 1 of 2 sites; elsewhere it changed little"


def test_without_training_alone_the_quality_is_said_and_what_is_missing() -> None:
    found = federation_verdict({"global": {"a": 0.5, "b": 0.75}}, {"a": 20, "b": 20})
    assert found.headline == (
        "The global model has a mean Dice of 0.625, from 0.500 (a) to 0.750 (b)"
    )
    assert any("baselines" in step for step in found.steps)


def test_nothing_evaluated_is_said() -> None:
    for dice in ({}, {"global": {"a": NAN}}):
        assert "No model has been evaluated" in federation_verdict(dice, {}).headline


def test_a_site_has_an_interval() -> None:
    own = {str(i): 0.8 + 0.001 * i for i in range(12)}
    alone = {str(i): 0.7 for i in range(12)}
    found = site_verdict({"personal": own, "global": alone, "local": alone})
    assert found.headline == "Joining helped: +0.106 Dice against training alone"
    assert "95 % interval over 12 cases" in found.lines[1]
    assert "chance" not in found.lines[1]
    worse = site_verdict({"personal": alone, "local": own})
    assert worse.headline.startswith("Joining harmed")
    assert "the model trained alone is the better one" in worse.steps[0].lower()


def test_few_cases_show_a_tendency_only() -> None:
    found = site_verdict({"global": {"x": 0.8, "y": 0.6}, "local": {"x": 0.7, "y": 0.7}})
    assert found.headline.startswith("Joining changed little")
    assert "includes 0" in found.lines[1]
    assert "2 held-out cases cannot show more than a tendency" in found.lines[2]
    one = site_verdict({"global": {"x": 0.8}, "local": {"x": 0.7}})
    assert "1 held-out case" in one.lines[0]
    assert site_verdict({"local": {"x": 0.7}}).headline == ""


def test_the_best_model_is_the_best_where_sites_train() -> None:
    assert best_model(DICE, {"out"}) == "personal"
    assert best_model({}) == ""
