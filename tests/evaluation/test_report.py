"""The report stands alone and says what it must."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest

from fednnunet.evaluation.charts import RoundPoint
from fednnunet.evaluation.contribution import RoundContribution, estimate
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.report import Report, summarise, write_report
from fednnunet.evaluation.scores import SiteScores
from fednnunet.evaluation.site_graph import SiteEdge, SiteGraph
from fednnunet.planning.plan import (
    Architecture,
    Configuration,
    Intensity,
    Plan,
    Reason,
    Stage,
)
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ", "nodule"))


def _plan() -> Plan:
    stages = (
        Stage(features=8, kernel=(3, 3, 3), stride=(1, 1, 1), convs=2, decoder_convs=2),
        Stage(features=16, kernel=(3, 3, 3), stride=(2, 2, 2), convs=2, decoder_convs=0),
    )
    configuration = Configuration(
        name="3d_fullres",
        spacing_mm=(1.5, 1.0, 1.0),
        patch_vox=(8, 16, 16),
        batch=2,
        median_shape_vox=(10.0, 20.0, 20.0),
        normalisation=("zscore",),
        use_mask=(False,),
        architecture=Architecture(kind="plain", stages=stages),
        batch_dice=False,
    )
    intensity = Intensity(
        mean=0.0, median=0.0, std=1.0, min=0.0, max=1.0, percentile_00_5=0.0, percentile_99_5=1.0
    )
    return Plan(
        task=TASK,
        planner="plain",
        configurations=(configuration,),
        intensity=(intensity,),
        cases=12,
        reasons=(Reason(decision="patch", because="it fits <8 GiB>"),),
    )


def _case(name: str, dice: float) -> CaseScores:
    score = TargetScore(
        dice=dice, iou=dice, hd95_mm=1.0, assd_mm=0.5, reference_vox=4, predicted_vox=4
    )
    return CaseScores(case=name, targets={"organ": score, "nodule": score})


def _scores(*dice: float) -> SiteScores:
    return SiteScores.of(TASK.targets, [_case(str(i), value) for i, value in enumerate(dice)])


def test_the_report_stands_alone_and_says_everything(tmp_path: Path) -> None:
    report = Report(
        title="three <hospitals>",
        plan=_plan(),
        configuration="3d_fullres",
        facts=(("method", "fedbn_head"),),
        notes=("site ucl shares with min_cases lowered to 1",),
        history=tuple(
            RoundPoint(round=i, site=site, loss=1 / (i + 1), dice=i / 4)
            for i in range(4)
            for site in ("north", "south")
        ),
        models={
            "local": {"north": _scores(0.5, 0.7), "south": _scores(0.8)},
            "personal": {"north": _scores(0.75, 0.85), "south": _scores(0.7)},
        },
    )
    write_report(tmp_path / "report.html", report)
    text = (tmp_path / "report.html").read_text()
    assert "three &lt;hospitals&gt;" in text
    assert "it fits &lt;8 GiB&gt;" in text
    assert "min_cases lowered to 1" in text
    for number in ("0.600", "0.750", "0.700"):
        assert number in text
    assert re.search(r'class="best">0\.800', text)
    assert "data:image/png" not in text
    assert text.count("data:image/svg+xml") == 2
    links = re.findall(r'(?:src|href)="([^"]{0,40})', text)
    assert all(link.startswith("data:") for link in links)
    assert "<script" not in text
    write_report(tmp_path / "again.html", report)
    assert (tmp_path / "again.html").read_text() == text


def test_gains_contributions_and_the_graph_are_shown_where_they_are_known(tmp_path: Path) -> None:
    measured = {
        "north": RoundContribution(divergence=0.2, dice_loss=0.1),
        "south": RoundContribution(divergence=0.6),
    }
    report = Report(
        title="t",
        plan=_plan(),
        configuration="3d_fullres",
        models={
            "local": {"north": _scores(0.6), "south": _scores(0.8)},
            "personal": {"north": _scores(0.75), "south": _scores(0.7)},
        },
        graph=SiteGraph(
            round=3,
            sites=("north", "south"),
            edges=(SiteEdge(one="north", other="south", similarity=0.42),),
        ),
        contributions=estimate([measured]),
    )
    write_report(tmp_path / "report.html", report)
    text = (tmp_path / "report.html").read_text()
    assert "+0.150" in text and "\N{MINUS SIGN}0.100" in text
    assert "not measured" in text and ">0.25<" in text and ">0.75<" in text
    assert "Graph of the sites" in text
    alone = Report(title="t", plan=_plan(), configuration="3d_fullres")
    write_report(tmp_path / "alone.html", alone)
    assert "Graph of the sites" not in (tmp_path / "alone.html").read_text()


def test_means_over_sites_leave_out_those_that_did_not_train_and_say_so(tmp_path: Path) -> None:
    models = {
        "global": {"north": _scores(0.8, 0.8), "south": _scores(0.6), "west": _scores(0.1)},
        "personal": {"north": _scores(0.8, 0.8), "south": _scores(0.6)},
        "routed": {"west": _scores(0.3)},
    }
    report = Report(
        title="t",
        plan=_plan(),
        configuration="3d_fullres",
        models=models,
        external=frozenset({"west", "silent"}),
    )
    write_report(tmp_path / "report.html", report)
    text = (tmp_path / "report.html").read_text()
    (row,) = re.findall(r'<tr class="total"><td>mean of sites</td>(.*?)</tr>', text)
    assert re.findall(r"<td>(.*?)</td>", row) == ["3", "0.700", "0.700", "0.300"]
    assert "leave out west, which did not train, unless a model is judged nowhere else." in text
    write_report(tmp_path / "all.html", dataclasses.replace(report, external=frozenset()))
    assert "leave out" not in (tmp_path / "all.html").read_text()


def test_a_report_of_an_unfinished_run_is_written(tmp_path: Path) -> None:
    write_report(
        tmp_path / "report.html", Report(title="t", plan=_plan(), configuration="3d_fullres")
    )
    assert "The plan" in (tmp_path / "report.html").read_text()


def test_a_model_over_sites() -> None:
    summary = summarise({"a": 0.5, "b": 0.9, "c": math.nan})
    assert summary.mean == pytest.approx(0.7)
    assert summary.spread == pytest.approx(np.std([0.5, 0.9], ddof=1))
    assert (summary.worst, summary.worst_site) == (0.5, "a")
    assert math.isnan(summarise({"a": math.nan}).mean)
