"""What leaves of a site's scores: figures of enough cases, and pictures only if the site agrees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from fednnunet.dataset import Case
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.pictures import CasePicture
from fednnunet.evaluation.scores import SiteScores
from fednnunet.evaluation.tables import write_cases_csv
from fednnunet.federation.site import score_reply
from fednnunet.federation.site.evaluation import CASES
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.score_reply import ScoreReplies, score_words
from fednnunet.federation.wire.messages import (
    EvaluateInvite,
    EvaluateReply,
    PrepareReply,
    pack,
    unpack,
)
from tests.federation.wire.test_pictures import a_png

TARGETS = ("ball", "core")
LOCAL = "baselines/local"
JOINT = EvaluateInvite(run="", method="fedbn", round=2, personal=True)
ALONE = EvaluateInvite(run=LOCAL, method="local", round=2, personal=True)


def evaluated(base: Path, run: str, dice: Sequence[tuple[float, float]]) -> list[CaseScores]:
    """Write the Dice of both targets of each case, as an evaluation of a personal model does."""
    found = [
        CaseScores(
            case=f"case_{number}",
            targets={
                name: TargetScore(
                    dice=value,
                    iou=value,
                    hd95_mm=math.nan,
                    assd_mm=math.nan,
                    reference_vox=9,
                    predicted_vox=9,
                )
                for name, value in zip(TARGETS, values, strict=True)
            },
        )
        for number, values in enumerate(dice)
    ]
    folder = base / run / "held_out" / "personal"
    folder.mkdir(parents=True, exist_ok=True)
    write_cases_csv(folder / CASES, {"": found})
    return found


def reply(
    base: Path, invite: EvaluateInvite, scores: list[CaseScores], **policy: object
) -> EvaluateReply:
    """The site's reply, as the coordinator reads it."""
    cases = [Case(name=s.case, images=(), label=None, group="") for s in scores]
    replies = ScoreReplies(base=base, policy=SitePolicy(**policy), log=lambda text: None)
    made = replies.reply(invite, SiteScores.of(TARGETS, scores), cases, reached=2)
    back = unpack(pack(made), sender="north")
    assert isinstance(back, EvaluateReply)
    return back


def gains(base: Path, joint: list[tuple[float, float]], alone: list[tuple[float, float]]):
    reply(base, JOINT, evaluated(base, "", joint))
    return reply(base, ALONE, evaluated(base, LOCAL, alone)).gains


def test_twelve_cases_give_a_mean_and_a_spread(tmp_path: Path) -> None:
    joint = [(0.8 + 0.01 * i, 0.7) for i in range(12)]
    found = gains(tmp_path, joint, [(0.7, 0.6)] * 12)
    assert found.keys() == {"personal"}
    assert found["personal"].mean == pytest.approx(0.1 + 0.0275, abs=1e-6)
    assert (found["personal"].better, found["personal"].worse) == (12, 0)
    assert found["personal"].std is not None


def test_seven_cases_give_no_spread_and_four_give_nothing(tmp_path: Path) -> None:
    found = gains(tmp_path / "seven", [(0.8, 0.7)] * 7, [(0.7, 0.8)] * 7)
    assert (found["personal"].cases, found["personal"].std) == (7, None)
    assert gains(tmp_path / "four", [(0.8, 0.7)] * 4, [(0.7, 0.6)] * 4) == {}


def test_one_case_without_a_target_is_not_told_by_the_mean_over_targets(tmp_path: Path) -> None:
    """Its Dice would follow from the mean, and from the sums of both targets."""
    joint, alone = [(0.8, 0.7)] * 12, [(0.7, 0.6)] * 12
    few = gains(tmp_path / "few", [*joint, (0.3, math.nan)], [*alone, (0.2, math.nan)])
    assert few == {}
    many = gains(tmp_path / "many", joint + [(0.3, math.nan)] * 5, alone + [(0.2, math.nan)] * 5)
    assert many["personal"].cases == 12


def test_one_case_without_one_target_among_others_without_any(tmp_path: Path) -> None:
    """The organ is in 15 of 20 cases, the lesion in 14 of these: its sum less the gain's."""
    nothing = [(math.nan, math.nan)] * 5
    joint, alone = [(0.8, 0.7)] * 14, [(0.7, 0.6)] * 14
    few = gains(
        tmp_path / "few",
        [*joint, (0.3, math.nan), *nothing],
        [*alone, (0.2, math.nan), *nothing],
    )
    assert few == {}
    assert gains(tmp_path / "none", joint + nothing, alone + nothing)["personal"].cases == 14


def test_models_of_other_cases_are_not_compared(tmp_path: Path) -> None:
    assert gains(tmp_path, [(0.8, 0.7)] * 12, [(0.7, 0.6)] * 13) == {}


@pytest.mark.parametrize(
    "invite",
    [
        EvaluateInvite(run="baselines/fedavg", method="fedavg", round=2, personal=True),
        EvaluateInvite(run=LOCAL, method="local", round=2, personal=True, brief=True),
        EvaluateInvite(run="", method="local", round=2, personal=True),
    ],
)
def test_only_training_alone_is_compared_and_only_at_the_end(
    tmp_path: Path, invite: EvaluateInvite
) -> None:
    scores = evaluated(tmp_path, invite.run, [(0.8, 0.7)] * 12)
    assert reply(tmp_path, invite, scores).gains == {}


def test_scores_that_stay_take_the_differences_with_them(tmp_path: Path) -> None:
    gains(tmp_path, [(0.8, 0.7)] * 12, [(0.7, 0.6)] * 12)
    assert gains(tmp_path, [(0.8, 0.7)] * 13, [(0.7, 0.6)] * 13) == {}  # one case was added


PICTURES = tuple(
    CasePicture(case="admission_77", rank=rank, dice=0.5, png=a_png(body=rank.encode()))
    for rank in ("worst", "median", "best")
)


@pytest.mark.parametrize(
    ("invite", "shared", "ranks"),
    [
        (JOINT, True, {"picture.worst", "picture.median"}),
        (JOINT, False, set()),
        (ALONE, True, set()),
        (EvaluateInvite(run="", method="m", round=2, personal=True, brief=True), True, set()),
    ],
)
def test_pictures_leave_only_if_the_site_agrees(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    invite: EvaluateInvite,
    shared: bool,
    ranks: set[str],
) -> None:
    monkeypatch.setattr(score_reply, "read_pictures", lambda folder: PICTURES)
    scores = evaluated(tmp_path, invite.run, [(0.8, 0.7)])
    found = reply(tmp_path, invite, scores, share_pictures=shared)
    assert found.tensors.keys() == ranks
    assert b"admission" not in pack(found)
    assert ("pictures of held-out cases: worst, median" in score_words(found)) == bool(ranks)


def test_the_ledger_says_what_goes_with_the_sums(tmp_path: Path) -> None:
    joint = [(0.8 + 0.01 * i, 0.7) for i in range(12)]
    reply(tmp_path, JOINT, evaluated(tmp_path, "", joint))
    words = score_words(reply(tmp_path, ALONE, evaluated(tmp_path, LOCAL, [(0.7, 0.6)] * 12)))
    assert "mean difference in Dice of the personal model to training alone" in words
    assert "over 12 held-out cases, its standard deviation" in words
    assert score_words(PrepareReply(training_cases=1, held_out_cases=1)) == ""
