"""Writes a site's own `report.html` from what it has evaluated; it stays in the site's folder."""

from __future__ import annotations

from pathlib import Path

from fednnunet.evaluation.site_report import ModelCases, SiteReport, write_site_report
from fednnunet.evaluation.tables import read_cases_csv
from fednnunet.federation.site.evaluation import CASES, read_pictures
from fednnunet.federation.site.policy import SitePolicy

REPORT = "report.html"
HELD_OUT = "held_out"


def report_site(site: str, base: Path, *, task: str, policy: SitePolicy) -> Path:
    """Write `base/report.html` of all models that were evaluated at the site; returns its path."""
    folders = sorted(base.glob(f"{HELD_OUT}/*/{CASES}"))
    folders += sorted(base.glob(f"baselines/*/{HELD_OUT}/*/{CASES}"))
    models = [_model(base, path.parent) for path in folders]
    held_out = max((len(model.scores) for model in models), default=0)
    report = SiteReport(
        title=f"{task}: site {site}",
        models=tuple(models),
        facts=(
            ("held-out cases", str(held_out)),
            ("shares sums over at least", f"{policy.required_cases} cases"),
            ("shares scores over at least", f"{policy.min_scored_cases} held-out cases"),
            ("gives its own model away", "if asked to" if policy.share_model else "no"),
        ),
    )
    write_site_report(base / REPORT, report)
    return base / REPORT


def _model(base: Path, folder: Path) -> ModelCases:
    place = folder.relative_to(base).parts
    kind = f"{place[-1]} model"
    return ModelCases(
        model=f"{place[1]}: {kind}" if place[0] == "baselines" else kind,
        scores=read_cases_csv(folder / CASES).get("", ()),
        pictures=read_pictures(folder),
    )
