"""Scores as files and as a printed table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.evaluation.metrics import METRICS, CaseScores, TargetScore
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.files import write_text
from fednnunet.text import cell, uncell


def write_cases_csv(path: Path, scores: Mapping[str, Sequence[CaseScores]]) -> None:
    """One line per site, case and target; a metric that is not defined is left empty.

    Names that a spreadsheet would take for a formula begin with a quote.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["site", "case", "target", *METRICS, "reference_vox", "predicted_vox"])
    for site in sorted(scores):
        for case in scores[site]:
            for target, score in case.targets.items():
                numbers = [_text(getattr(score, metric)) for metric in METRICS]
                sizes = [score.reference_vox, score.predicted_vox]
                writer.writerow([cell(site), cell(case.case), cell(target), *numbers, *sizes])
    write_text(path, text.getvalue())


def read_cases_csv(path: Path) -> dict[str, tuple[CaseScores, ...]]:
    """The cases of each site as `write_cases_csv` wrote them, to six digits."""
    cases: dict[tuple[str, str], dict[str, TargetScore]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                site, case, target = (uncell(row[key]) for key in ("site", "case", "target"))
                cases.setdefault((site, case), {})[target] = _score(row)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise InputError(
            f"{path.name} is no table of scores: {error}",
            where=str(path),
            mend="delete the file and evaluate again",
        ) from None
    found: dict[str, tuple[CaseScores, ...]] = {}
    for (site, case), targets in cases.items():
        found[site] = (*found.get(site, ()), CaseScores(case=case, targets=targets))
    return found


def write_scores_json(
    path: Path, targets: Sequence[str], scores: Mapping[str, Sequence[CaseScores]]
) -> None:
    """Scores per case, per site and over all cases (see `summary`), as JSON. NaN becomes null."""
    sites = {site: SiteScores.of(targets, scores[site]) for site in sorted(scores)}
    cases = {
        site: {case.case: _finite(records.encode(case.targets)) for case in scores[site]}
        for site in sorted(scores)
    }
    records.write({**summary(targets, sites), "per_case": cases}, path)


def summary(targets: Sequence[str], sites: Mapping[str, SiteScores]) -> dict[str, Any]:
    """Means and standard deviations for JSON: per site, over all cases, and the mean of sites.

    `foreground_mean` is the mean over targets of the mean over cases. `mean_of_sites` gives each
    site the same weight, `all_cases` gives each case the same weight.
    """
    pooled = SiteScores.empty(targets)
    for name in sorted(sites):
        pooled = pooled + sites[name]
    mean_of_sites = {
        metric: _number(_mean([site.mean(metric) for site in sites.values()])) for metric in METRICS
    }
    return {
        "targets": list(targets),
        "mean_of_sites": mean_of_sites,
        "all_cases": _site_summary(pooled),
        "per_site": {name: _site_summary(sites[name]) for name in sorted(sites)},
    }


def scores_table(targets: Sequence[str], sites: Mapping[str, SiteScores]) -> Table:
    """A table for the terminal: means over cases per site and target; Dice with its spread."""
    table = Table(title="Scores, mean over cases", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("site", no_wrap=True)
    table.add_column("target", no_wrap=True)
    for heading in ("cases", "Dice", "std", "IoU", "HD95 mm", "ASSD mm", "FN cases", "FP cases"):
        table.add_column(heading, justify="right")
    for name in sorted(sites):
        site = sites[name]
        for target in targets:
            table.add_row(name, target, *_target_cells(site.targets[target], site.cases))
        if len(targets) > 1:
            means = {metric: site.mean(metric) for metric in METRICS}
            table.add_row(name, "mean", *_mean_cells(means, site.cases), style="bold")
        table.add_section()
    if len(sites) > 1:
        count = sum(site.cases for site in sites.values())
        overall = {m: _mean([site.mean(m) for site in sites.values()]) for m in METRICS}
        table.add_row("mean of sites", "", *_mean_cells(overall, count), style="bold")
    return table


def _target_cells(sums: TargetSums, cases: int) -> list[str]:
    dice, iou, hd95, assd = (getattr(sums, metric) for metric in METRICS)
    overlap = [_show(dice.mean, 3), _show(dice.std, 3), _show(iou.mean, 3)]
    counts = [str(sums.false_negatives or ""), str(sums.false_positives or "")]
    return [str(cases), *overlap, _show(hd95.mean, 2), _show(assd.mean, 2), *counts]


def _mean_cells(means: Mapping[str, float], cases: int) -> list[str]:
    overlap = [_show(means["dice"], 3), "", _show(means["iou"], 3)]
    return [str(cases), *overlap, _show(means["hd95_mm"], 2), _show(means["assd_mm"], 2), "", ""]


def _show(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _score(row: Mapping[str, str]) -> TargetScore:
    dice, iou, hd95, assd = (float(row[metric] or "nan") for metric in METRICS)
    return TargetScore(
        dice=dice,
        iou=iou,
        hd95_mm=hd95,
        assd_mm=assd,
        reference_vox=int(row["reference_vox"]),
        predicted_vox=int(row["predicted_vox"]),
    )


def _site_summary(site: SiteScores) -> dict[str, Any]:
    per_target = {name: _target_summary(sums) for name, sums in site.targets.items()}
    means = {metric: _number(site.mean(metric)) for metric in METRICS}
    return {"cases": site.cases, "foreground_mean": means, "per_target": per_target}


def _target_summary(sums: TargetSums) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name in METRICS:
        metric: MetricSum = getattr(sums, name)
        numbers = {"mean": _number(metric.mean), "std": _number(metric.std)}
        result[name] = {"cases": metric.count, **numbers}
    counts = {"false_negatives": sums.false_negatives, "false_positives": sums.false_positives}
    return {**result, **counts}


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return _number(value) if isinstance(value, float) else value
