"""Writes a site's own `report.html` from what it has evaluated; it stays in the site's folder."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

from fednnunet.evaluation.pictures import structure_colours
from fednnunet.evaluation.site_report import ModelCases, SiteReport, write_site_report
from fednnunet.evaluation.tables import read_cases_csv
from fednnunet.evaluation.verdict import site_verdict
from fednnunet.federation.site.evaluation import CASES, read_pictures
from fednnunet.federation.site.guard import read_decision
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.task import Task
from fednnunet.text import plural
from fednnunet.version import VERSION

REPORT = "report.html"
HELD_OUT = "held_out"


def report_site(site: str, base: Path, *, task: Task, policy: SitePolicy) -> Path:
    """Write `base/report.html` of all models that were evaluated at the site; returns its path."""
    folders = sorted(base.glob(f"{HELD_OUT}/*/{CASES}"))
    folders += sorted(base.glob(f"baselines/*/{HELD_OUT}/*/{CASES}"))
    models = sorted((_model(base, path.parent) for path in folders), key=_mean, reverse=True)
    held_out = max((len(model.scores) for model in models), default=0)
    decision = read_decision(base)
    report = SiteReport(
        title=f"{task.name}: site {site}",
        models=tuple(models),
        verdict=site_verdict({_kind(model): _dice(model) for model in models}),
        colours=structure_colours(task),
        facts=(
            ("held-out cases", str(held_out)),
            ("shares sums over at least", plural(policy.required_cases, "case")),
            ("shares scores over at least", plural(policy.min_scored_cases, "held-out case")),
            ("gives its own model away", "if asked to" if policy.share_model else "no"),
            *((("in joint rounds", decision.words),) if decision else ()),
            ("sends pictures", "of the worst and median case" if policy.share_pictures else "no"),
            ("written", f"{datetime.now(UTC):%Y-%m-%d} by fednnunet {VERSION}"),
        ),
    )
    write_site_report(base / REPORT, report)
    return base / REPORT


def _dice(model: ModelCases) -> dict[str, float]:
    return {score.case: score.dice for score in model.scores}


def _mean(model: ModelCases) -> float:
    defined = [dice for dice in _dice(model).values() if not math.isnan(dice)]
    return sum(defined) / len(defined) if defined else -1.0


def _kind(model: ModelCases) -> str:
    """The model's name for a verdict: personal, global, or the baseline's."""
    return model.model.partition(":")[0].removesuffix(" model")


def _model(base: Path, folder: Path) -> ModelCases:
    place = folder.relative_to(base).parts
    kind = f"{place[-1]} model"
    return ModelCases(
        model=f"{place[1]}: {kind}" if place[0] == "baselines" else kind,
        scores=read_cases_csv(folder / CASES).get("", ()),
        pictures=read_pictures(folder),
    )
