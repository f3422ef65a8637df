"""Scores as CSV, JSON and a printed table."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from fednnunet.errors import InputError
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.scores import SiteScores
from fednnunet.evaluation.tables import (
    read_cases_csv,
    scores_table,
    write_cases_csv,
    write_scores_json,
)


def _case(name: str, dice: float) -> CaseScores:
    score = TargetScore(
        dice=dice, iou=dice, hd95_mm=math.nan, assd_mm=1.5, reference_vox=4, predicted_vox=0
    )
    return CaseScores(case=name, targets={"organ": score})


SCORES = {"north": (_case("n1", 0.5), _case("n2", 0.75)), "south": (_case("s1", 0.25),)}


def test_csv_comes_back(tmp_path: Path) -> None:
    write_cases_csv(tmp_path / "scores.csv", SCORES)
    assert repr(read_cases_csv(tmp_path / "scores.csv")) == repr(SCORES)
    (tmp_path / "other.csv").write_text("site,case\nnorth,n1\n")
    with pytest.raises(InputError, match="no table of scores"):
        read_cases_csv(tmp_path / "other.csv")


def test_json_has_means_and_no_nan(tmp_path: Path) -> None:
    write_scores_json(tmp_path / "scores.json", ("organ",), SCORES)
    text = (tmp_path / "scores.json").read_text()
    data = json.loads(text)
    assert "NaN" not in text
    assert data["mean_of_sites"]["dice"] == pytest.approx((0.625 + 0.25) / 2)
    assert data["all_cases"]["per_target"]["organ"]["dice"]["mean"] == pytest.approx(0.5)
    assert data["per_site"]["north"]["per_target"]["organ"]["false_negatives"] == 2
    assert data["per_case"]["south"]["s1"]["organ"]["hd95_mm"] is None


def test_table_fits_a_terminal() -> None:
    sums = {site: SiteScores.of(("organ",), cases) for site, cases in SCORES.items()}
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(scores_table(("organ",), sums))
    text = console.export_text()
    assert "0.625" in text
    assert "mean of sites" in text
    assert "0.438" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
