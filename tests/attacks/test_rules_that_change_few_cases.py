"""A coordinator that subtracts scores before and after post-processing which changes few masks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fednnunet.evaluation.postprocess import Postprocessing
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.wire.messages import EvaluateInvite, EvaluateReply
from tests.attacks.test_score_differences import LIMITS, add_test_case, restarted
from tests.attacks.victim import Victim, a_victim, zeros
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


def test_a_rule_that_empties_one_mask(tmp_path: Path) -> None:
    """The sums before minus those after it would be the case's Dice, HD95 and ASSD."""
    ten = WITHOUT[:10]
    before = SiteScores.of(TASK.targets, scores(ten))
    found = released(tmp_path, uniform(2), scores(ten), scores(changed(ten, {3: 0.0})))
    assert found == before


def test_two_rules_that_differ_in_one_case(tmp_path: Path) -> None:
    one = changed(WITHOUT, dict.fromkeys(range(8), 0.9))
    two = changed(one, {12: 0.9})
    first = released(tmp_path, uniform(1), scores(WITHOUT), scores(one))
    assert first == SiteScores.of(TASK.targets, scores(one))
    assert released(tmp_path, uniform(2), scores(WITHOUT), scores(two)) == BASE


def test_one_changed_score_among_false_positives_that_vanish(tmp_path: Path) -> None:
    """Their Dice of 0 is no longer defined, which leaves the sum to the one that changed."""
    before = changed(WITHOUT, dict.fromkeys(range(6), 0.0))
    after = changed(before, {**dict.fromkeys(range(6), math.nan), 9: 0.9})
    found = released(tmp_path, uniform(1), scores(before), scores(after))
    assert found == SiteScores.of(TASK.targets, scores(before))


def test_rules_that_meet_in_one_case(tmp_path: Path) -> None:
    """Both - foreground - rule + none is 0 wherever only one of them changes anything."""
    foreground = changed(WITHOUT, dict.fromkeys(range(8), 0.9))
    rule = changed(WITHOUT, dict.fromkeys(range(7, 15), 0.8))
    both = changed(foreground, {**dict.fromkeys(range(8, 15), 0.8), 7: 0.95})
    given = released(tmp_path, FOREGROUND, scores(WITHOUT), scores(foreground))
    released(tmp_path, uniform(0), scores(WITHOUT), scores(rule))
    found = released(tmp_path, uniform(0, foreground=True), scores(WITHOUT), scores(both))
    assert found.targets["organ"] == given.targets["organ"]


def test_the_scores_of_a_rule_on_the_other_side_of_a_restart(tmp_path: Path) -> None:
    """A rule for one model, and one that differs in a case for a model with the same masks."""
    one = changed(WITHOUT, dict.fromkeys(range(6), 0.9))
    released(tmp_path, uniform(0), scores(WITHOUT), scores(one), number=1)
    found = released(
        tmp_path, uniform(0), scores(WITHOUT), scores(changed(one, {9: 0.9})), number=2
    )
    assert found == BASE


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    root = tmp_path_factory.mktemp("rules")
    settings = {"method": "fedavg", "rounds": 1, "personal_rounds": 0, "public_rounds": 0}
    found = a_victim(root, **settings, postprocessing=True)
    (root / "north" / "site.toml").write_text(LIMITS)
    for number in (0, 1):
        add_test_case(root / "north", number)
    return restarted(found).prepare()


def an_invite(victim: Victim, rule: Postprocessing | None = None) -> EvaluateInvite:
    return EvaluateInvite(
        tensors=victim.tensors,
        run="",
        method="fedavg",
        round=1,
        personal=False,
        rule=rule or Postprocessing(),
    )


def test_a_rule_for_another_model_than_the_one_scored(victim: Victim) -> None:
    assert isinstance(victim.ask(an_invite(victim)), EvaluateReply)
    card = (victim.base / "global" / "card.json").read_bytes()
    other = EvaluateInvite(
        tensors=zeros(victim.tensors), run="", method="fedavg", round=1, personal=False,
        rule=FOREGROUND,
    )  # fmt: skip
    assert victim.refuses(other) == "as_agreed"
    reply = victim.ask(an_invite(victim, FOREGROUND))
    assert isinstance(reply, EvaluateReply) and reply.scores.cases == 2
    assert (victim.base / "global" / "card.json").read_bytes() == card
    assert b'"scored": {' in card
