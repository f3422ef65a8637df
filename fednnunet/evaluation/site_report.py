"""A site's own report: pictures and scores of its cases. It stays in the site's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fednnunet.evaluation.metrics import CaseScores
from fednnunet.evaluation.page import png_source, write_page
from fednnunet.evaluation.pictures import PREDICTION_COLOUR, REFERENCE_COLOUR, CasePicture


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCases:
    """One model at one site: the scores of every held-out case, and pictures of some."""

    model: str
    scores: tuple[CaseScores, ...]
    pictures: tuple[CasePicture, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReport:
    """All that a site's report shows; `facts` and `notes` are as in `report.Report`."""

    title: str
    models: tuple[ModelCases, ...]
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


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
        colours={"reference": REFERENCE_COLOUR, "prediction": PREDICTION_COLOUR},
    )
