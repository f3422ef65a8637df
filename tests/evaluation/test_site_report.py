"""A site's own report shows its cases, in a file that needs nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.pictures import CasePicture
from fednnunet.evaluation.site_report import ModelCases, SiteReport, write_site_report


def _case(name: str, dice: float, *, predicted_vox: int = 4) -> CaseScores:
    score = TargetScore(
        dice=dice, iou=dice, hd95_mm=1.0, assd_mm=0.5, reference_vox=4, predicted_vox=predicted_vox
    )
    return CaseScores(case=name, targets={"organ": score})


def test_it_shows_every_case_and_the_pictures(tmp_path: Path) -> None:
    picture = CasePicture(case="case <1>", rank="worst", dice=0.25, png=b"\x89PNG")
    scores = (_case("case <1>", 0.25), _case("case 2", 0.0, predicted_vox=0))
    report = SiteReport(
        title="organ: site north",
        models=(ModelCases(model="personal model", scores=scores, pictures=(picture,)),),
    )
    write_site_report(tmp_path / "report.html", report)
    text = (tmp_path / "report.html").read_text()
    assert "case &lt;1&gt;" in text and "case 2" in text
    assert ">0.250<" in text and "false negative" in text
    assert text.count("data:image/png") == 1
    links = re.findall(r'(?:src|href)="([^"]{0,40})', text)
    assert all(link.startswith("data:") for link in links)


def test_a_model_without_pictures_is_shown_as_well(tmp_path: Path) -> None:
    report = SiteReport(title="t", models=(ModelCases(model="global model", scores=()),))
    write_site_report(tmp_path / "report.html", report)
    assert "data:image" not in (tmp_path / "report.html").read_text()
