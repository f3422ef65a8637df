"""Scores as files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.evaluation.evaluated import ALL, Evaluation
from fednnunet.evaluation.lesions import LesionCounts
from fednnunet.evaluation.metrics import METRICS, RULE, CaseScores, TargetScore
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.evaluation.spread import Statistics
from fednnunet.files import write_text
from fednnunet.text import cell, uncell

_COLUMNS = (
    "dice", "iou", "nsd", "hd_mm", "hd95_mm", "assd_mm", "reference_ml", "predicted_ml",
    "volume_difference_ml", "reference_vox", "predicted_vox",
)  # fmt: skip
_LESIONS = {
    "reference": "lesions_reference",
    "predicted": "lesions_predicted",
    "matched": "lesions_matched",
    "iou_sum": "lesions_iou_sum",
}


def write_cases_csv(path: Path, scores: Mapping[str, Sequence[CaseScores]]) -> None:
    """One line per site, case and target; a metric that is not defined is left empty.

    Names that a spreadsheet would take for a formula begin with a quote.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["site", "case", "target", *_COLUMNS, *_LESIONS.values()])
    for site in sorted(scores):
        for case in scores[site]:
            for target, score in case.targets.items():
                numbers = [_text(getattr(score, column)) for column in _COLUMNS]
                counts = [getattr(score.lesions, name, "") for name in _LESIONS]
                writer.writerow([cell(site), cell(case.case), cell(target), *numbers, *counts])
    write_text(path, text.getvalue())


def read_cases_csv(path: Path) -> dict[str, tuple[CaseScores, ...]]:
    """The cases of each site as `write_cases_csv` wrote them, to six digits but for counts."""
    cases: dict[tuple[str, str], dict[str, TargetScore]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                site, case, target = (uncell(row[key]) for key in ("site", "case", "target"))
                cases.setdefault((site, case), {})[target] = _score(row)
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        csv.Error,
    ) as error:
        raise InputError(
            f"{path.name} is no table of scores: {error}",
            where=str(path),
            mend="delete the file and evaluate again",
        ) from None
    found: dict[str, tuple[CaseScores, ...]] = {}
    for (site, case), targets in cases.items():
        found[site] = (*found.get(site, ()), CaseScores(case=case, targets=targets))
    return found


def write_scores_json(path: Path, found: Evaluation) -> None:
    """Scores per case, per site and over all cases (see `summary`), as JSON. NaN becomes null.

    `statistics` has means, medians, spread and intervals, `image_level` the scores per image where
    labels of presence were given, `settings` and `rule` say how all was computed.
    """
    targets, scores = found.task.targets, found.cases
    sites = {site: SiteScores.of(targets, scores[site]) for site in sorted(scores)}
    cases = {
        site: {case.case: _finite(records.encode(case.targets)) for case in scores[site]}
        for site in sorted(scores)
    }
    more = {
        "rule": RULE,
        "settings": records.encode(found.settings),
        "statistics": _finite(records.encode(found.statistics)),
        "image_level": _finite(records.encode(found.image_level)),
    }
    records.write({**summary(targets, sites), **more, "per_case": cases}, path)


def write_summary_csv(path: Path, found: Statistics) -> None:
    """One line per site, target and metric with its spread; the last lines are of all cases."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    spread = ("cases", "mean", "median", "std", "q25", "q75", "low", "high")
    headings = ["ci95_low" if n == "low" else "ci95_high" if n == "high" else n for n in spread]
    writer.writerow(["site", "target", "metric", *headings])
    for site, own in [*found.sites.items(), (ALL, found.all_cases)]:
        for target, sums in own.targets.items():
            for metric, values in sums.metrics.items():
                numbers = [_text(getattr(values, name)) for name in spread]
                writer.writerow([cell(site), cell(target), metric, *numbers])
    write_text(path, text.getvalue())


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


def _score(row: Mapping[str, str]) -> TargetScore:
    counts = [row.get(column) or "" for column in _LESIONS.values()]
    numbers = {metric: float(row[metric] or "nan") for metric in METRICS}
    more = ("nsd", "hd_mm", "reference_ml", "predicted_ml")  # not in tables of earlier versions
    numbers |= {name: float(row.get(name) or "nan") for name in more}
    lesions = None
    if counts[0]:
        reference, predicted, matched = (int(count) for count in counts[:3])
        lesions = LesionCounts(
            reference=reference, predicted=predicted, matched=matched, iou_sum=float(counts[3])
        )
    return TargetScore(
        **numbers,
        reference_vox=_count(row["reference_vox"]),
        predicted_vox=_count(row["predicted_vox"]),
        lesions=lesions,
    )


def _count(text: str) -> int:
    """A number of voxels; tables of earlier versions have large ones as 1.23457e+06."""
    return int(text) if text.isdigit() else int(float(text))


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
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else f"{value:.6g}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return _number(value) if isinstance(value, float) else value
