"""A site's own report, from the folders of what was evaluated."""

from __future__ import annotations

from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.tables import write_cases_csv
from fednnunet.federation.site.evaluation import CASES
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.report import report_site
from fednnunet.task import Task

TASK = Task(name="tiny", channels=("CT",), labels=("background", "core"))


def evaluated(folder, *cases):
    score = TargetScore(
        dice=0.8125, iou=0.5, hd95_mm=1.0, assd_mm=0.5, reference_vox=3, predicted_vox=4
    )
    folder.mkdir(parents=True)
    scores = [CaseScores(case=case, targets={"core": score}) for case in cases]
    write_cases_csv(folder / CASES, {"": scores})


def test_every_model_that_was_evaluated_is_shown(tmp_path):
    evaluated(tmp_path / "held_out" / "global", "admission_77", "admission_78")
    evaluated(tmp_path / "baselines" / "fedavg" / "held_out" / "personal", "admission_77")
    policy = SitePolicy(min_cases=3, min_bin_count=4, min_scored_cases=2)
    path = report_site("north", tmp_path, task=TASK, policy=policy)
    text = path.read_text()
    assert path == tmp_path / "report.html"
    assert "tiny: site north" in text
    assert "global model" in text and "fedavg: personal model" in text
    assert "admission_78" in text and "0.81" in text
    assert "The global model has a mean Dice of 0.812 on 2 held-out cases" in text
    assert "4 cases" in text and "2 held-out cases" in text
    assert "if asked to" not in text


def test_a_site_that_gives_its_model_away_says_so(tmp_path):
    text = report_site("n", tmp_path, task=TASK, policy=SitePolicy(share_model=True)).read_text()
    assert "if asked to" in text


def test_a_site_that_shares_pictures_says_so(tmp_path):
    policy = SitePolicy(share_pictures=True)
    text = report_site("n", tmp_path, task=TASK, policy=policy).read_text()
    assert "of the worst and median case" in text
