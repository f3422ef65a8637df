"""A coordinator that subtracts scores of one model over two nearly equal sets of held-out cases."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from fednnunet.dataset import Case
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.scores import SiteScores, TargetSums
from fednnunet.federation.methods.catalogue import label
from fednnunet.federation.site.scored_cases import Release, ScoredSet, ScoreRelease
from fednnunet.federation.site.site import Site
from fednnunet.federation.site.wall import LOG
from fednnunet.federation.wire.messages import EvaluateInvite, EvaluateReply
from tests.attacks.victim import Victim, a_victim

LIMITS = "min_cases = 1\nmin_bin_count = 1\nmin_scored_cases = 2\nmin_squared_cases = 2\n"


def add_test_case(folder: Path, number: int) -> None:
    """One of the site's training cases once more, as a case of its test set."""
    for source, target in (("imagesTr", "imagesTs"), ("labelsTr", "labelsTs")):
        (folder / target).mkdir(exist_ok=True)
        found = sorted((folder / source).iterdir())[number]
        shutil.copy(found, folder / target / f"test_{found.name}")


def restarted(victim: Victim) -> Victim:
    old = victim.site
    site = Site(old.name, victim.federation, old.base, prepared=old.base.parent / "prepared")
    return Victim(site=site, federation=victim.federation, plan=victim.plan)


def scores_in(victim: Victim, run: str) -> SiteScores:
    """What the site gives for the same weights in a run of the federation file."""
    method = label(victim.federation.training.runs[run])
    invite = EvaluateInvite(
        tensors=victim.tensors, run=run, method=method, round=1, personal=False, brief=False
    )
    reply = victim.ask(invite)
    assert isinstance(reply, EvaluateReply), reply
    return reply.scores


def test_evaluating_again_in_another_run_after_one_added_case(tmp_path):
    settings = {"method": "fedavg", "rounds": 1, "personal_rounds": 0, "public_rounds": 0}
    runs = ("fedavgm", "fedadam", "fedprox")
    victim = a_victim(tmp_path, **settings, baselines=runs)
    one, two, three = (run for run in victim.federation.training.runs if run)
    folder = tmp_path / "north"
    (folder / "site.toml").write_text(LIMITS)
    for number in (0, 1):
        add_test_case(folder, number)
    victim = restarted(victim).prepare()
    first = scores_in(victim, "")
    assert first.cases == 2 and scores_in(victim, one) == first  # the same cases: as often as asked

    add_test_case(folder, 2)
    victim = restarted(victim)
    withheld = scores_in(victim, two)
    assert withheld == SiteScores.empty(tuple(first.targets))
    assert "1 held-out cases were added or removed" in (victim.base / LOG).read_text()

    add_test_case(folder, 3)
    assert scores_in(restarted(victim), three).cases == 4  # two more: no case can be told


def a_case(folder: Path, number: int, *, core: bool) -> tuple[Case, CaseScores]:
    """A case on disk and its scores; `core` says whether its map has the second target."""
    path = folder / f"{number}.nii.gz"
    path.write_bytes(bytes([number]))
    case = Case(name=f"case_{number}", images=(), label=path, group="")
    dice = (number + 1) / 100
    targets = {
        name: TargetScore(
            dice=dice if there else math.nan, iou=dice if there else math.nan, hd95_mm=math.nan,
            assd_mm=math.nan, reference_vox=9 * there, predicted_vox=9 * there,
        )
        for name, there in (("ball", True), ("core", core))
    }  # fmt: skip
    return case, CaseScores(case=case.name, targets=targets)


def released(folder: Path, cases: Sequence[tuple[Case, CaseScores]]) -> Release:
    scores = [score for _, score in cases]
    total = SiteScores.of(("ball", "core"), scores).of_at_least(5)
    now = ScoredSet.of([case for case, _ in cases], scores)
    return ScoreRelease(folder=folder, min_cases=5).release(total, now)


def test_subtracting_scores_of_a_target_that_one_added_case_has(tmp_path):
    cases = [a_case(tmp_path, number, core=number < 6) for number in range(17)]
    assert not released(tmp_path, cases[:10]).warning
    again = released(tmp_path, [*cases[:5], *cases[6:16]])  # five more, one with a core less
    assert again.scores.targets["ball"].dice.count == 15
    assert again.scores.targets["core"] == TargetSums()
    assert "1 held-out cases with core" in again.warning


def test_going_back_to_an_earlier_set_plus_one(tmp_path):
    cases = [a_case(tmp_path, number, core=True) for number in range(24)]
    assert released(tmp_path, cases[:6]).scores.cases == 6
    assert released(tmp_path, cases[:12]).scores.cases == 12
    assert released(tmp_path, cases[:7]).scores.cases == 0
    assert released(tmp_path, cases[:6]).scores.cases == 6
    assert released(tmp_path, cases[12:]).scores.cases == 12


def test_changing_one_label_map_and_scoring_again(tmp_path):
    cases = [a_case(tmp_path, number, core=True) for number in range(6)]
    assert released(tmp_path, cases).scores.cases == 6
    (tmp_path / "3.nii.gz").write_bytes(b"corrected")
    assert released(tmp_path, cases).scores.cases == 0
