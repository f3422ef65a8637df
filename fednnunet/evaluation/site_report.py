"""A site's own report: pictures and scores of its cases. It stays in the site's folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fednnunet.evaluation.metrics import CaseScores
from fednnunet.evaluation.page import png_source, write_page
from fednnunet.evaluation.pictures import CasePicture
from fednnunet.evaluation.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCases:
    """One model at one site: the scores of every held-out case, and pictures of some."""

    model: str
    scores: tuple[CaseScores, ...]
    pictures: tuple[CasePicture, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReport:
    """All that a site's report shows; `facts` and `notes` are as in `report.Report`.

    `colours` are those of the structures in the pictures. Models come best first.
    """

    title: str
    models: tuple[ModelCases, ...]
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    verdict: Verdict = field(default_factory=Verdict)
    colours: dict[str, str] = field(default_factory=dict)


def write_site_report(path: Path, report: SiteReport) -> None:
    """Write the report to `path`, atomically. It refers to nothing outside itself."""
    write_page(
        path,
        "site_report.html.j2",
        page=report,
        pictures={
            model.model: [(picture, png_source(picture.png)) for picture in model.pictures]
            for model in report.models
        },
    )
