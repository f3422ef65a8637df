"""Scores as CSV and JSON."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path

import pytest

from fednnunet.errors import InputError
from fednnunet.evaluation.evaluated import Evaluation
from fednnunet.evaluation.lesions import LesionCounts
from fednnunet.evaluation.metrics import CASE_METRICS, CaseScores, TargetScore
from fednnunet.evaluation.spread import statistics_of
from fednnunet.evaluation.tables import (
    read_cases_csv,
    write_cases_csv,
    write_scores_json,
    write_summary_csv,
)
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ"))


def _case(name: str, dice: float) -> CaseScores:
    score = TargetScore(
        dice=dice, iou=dice, hd95_mm=math.nan, assd_mm=1.5, reference_vox=4, predicted_vox=0
    )
    return CaseScores(case=name, targets={"organ": score})


SCORES = {"north": (_case("n1", 0.5), _case("n2", 0.75)), "south": (_case("s1", 0.25),)}


def test_millions_of_voxels_come_back(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    large = dataclasses.replace(
        _case("n1", 0.5).targets["organ"], reference_vox=1_234_567, predicted_vox=10**6
    )
    write_cases_csv(path, {"": (CaseScores(case="n1", targets={"organ": large}),)})
    found = read_cases_csv(path)[""][0].targets["organ"]
    assert (found.reference_vox, found.predicted_vox) == (1_234_567, 10**6)
    path.write_text(path.read_text().replace("1234567", "1.23457e+06"))  # an earlier version's
    assert read_cases_csv(path)[""][0].targets["organ"].reference_vox == 1_234_570


def test_csv_comes_back(tmp_path: Path) -> None:
    write_cases_csv(tmp_path / "scores.csv", SCORES)
    assert repr(read_cases_csv(tmp_path / "scores.csv")) == repr(SCORES)
    (tmp_path / "other.csv").write_text("site,case\nnorth,n1\n")
    with pytest.raises(InputError, match="no table of scores"):
        read_cases_csv(tmp_path / "other.csv")


def test_json_has_means_and_no_nan(tmp_path: Path) -> None:
    write_scores_json(tmp_path / "scores.json", Evaluation(task=TASK, cases=SCORES))
    text = (tmp_path / "scores.json").read_text()
    data = json.loads(text)
    assert "NaN" not in text
    assert data["mean_of_sites"]["dice"] == pytest.approx((0.625 + 0.25) / 2)
    assert data["all_cases"]["per_target"]["organ"]["dice"]["mean"] == pytest.approx(0.5)
    assert data["per_site"]["north"]["per_target"]["organ"]["false_negatives"] == 2
    assert data["per_case"]["south"]["s1"]["organ"]["hd95_mm"] is None
    dice = data["statistics"]["sites"]["north"]["targets"]["organ"]["metrics"]["dice"]
    assert (dice["median"], dice["cases"]) == (0.625, 2)
    assert 0.5 <= dice["low"] <= dice["high"] <= 0.75
    assert data["settings"]["tolerance_mm"] == 2.0 and "false negative" in data["rule"]


def test_the_summary_has_a_line_for_each_site_target_and_metric(tmp_path: Path) -> None:
    write_summary_csv(tmp_path / "summary.csv", statistics_of(("organ",), SCORES))
    with (tmp_path / "summary.csv").open(newline="") as stream:
        rows = {(r["site"], r["metric"]): r for r in csv.DictReader(stream)}
    assert len(rows) == 3 * len(CASE_METRICS)
    assert float(rows["all cases", "dice"]["mean"]) == 0.5
    assert rows["south", "dice"]["ci95_low"] == rows["north", "hd95_mm"]["mean"] == ""


def test_lesions_come_back_from_csv(tmp_path: Path) -> None:
    lesions = LesionCounts(reference=3, predicted=2, matched=1, iou_sum=0.75)
    score = dataclasses.replace(_case("n1", 0.5).targets["organ"], lesions=lesions, nsd=0.5)
    cases = {"": (CaseScores(case="n1", targets={"organ": score}),)}
    write_cases_csv(tmp_path / "scores.csv", cases)
    assert read_cases_csv(tmp_path / "scores.csv")[""][0].targets["organ"].lesions == lesions
