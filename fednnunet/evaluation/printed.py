"""Scores as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fednnunet.evaluation.image_level import ImageLevel
from fednnunet.evaluation.spread import SiteSpread, Spread, Statistics, TargetSpread


def scores_table(found: Statistics) -> Table:
    """A table for the terminal: means over cases per site and target; Dice with its interval."""
    table = Table(title="Scores, mean over cases", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("site", no_wrap=True)
    table.add_column("target", no_wrap=True)
    for heading in ("cases", "Dice", "95 % CI", "median", "NSD", "HD95 mm", "ASSD mm", "FN", "FP"):
        table.add_column(heading, justify="right")
    for name, site in found.sites.items():
        for target, own in site.targets.items():
            table.add_row(name, target, str(site.cases), *_target_cells(own))
        if len(site.targets) > 1:
            table.add_row(name, "mean", str(site.cases), *_mean_cells([site]), style="bold")
        table.add_section()
    if len(found.sites) > 1:
        count = str(found.all_cases.cases)
        sites = list(found.sites.values())
        table.add_row("mean of sites", "", count, *_mean_cells(sites), style="bold")
    return table


def lesions_table(found: Statistics) -> Table | None:
    """A table of the matched lesions of each site and target; None if none were matched."""
    table = Table(title="Lesions of all cases together", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("site", no_wrap=True)
    table.add_column("target", no_wrap=True)
    for heading in (
        "lesions",
        "predicted",
        "matched",
        "sensitivity",
        "precision",
        "F1",
        "IoU",
        "PQ",
    ):
        table.add_column(heading, justify="right")
    for name, site in found.sites.items():
        for target, own in site.targets.items():
            if (all_ := own.lesions) is not None:
                counts = [str(n) for n in (all_.reference, all_.predicted, all_.matched)]
                shares = (all_.sensitivity, all_.precision, all_.f1, all_.mean_iou)
                shown = [_show(value, 3) for value in (*shares, all_.panoptic_quality)]
                table.add_row(name, target, *counts, *shown)
    return table if table.row_count else None


def image_table(found: Mapping[str, Mapping[str, ImageLevel]]) -> Table:
    """A table of the scores per image of each site and target."""
    table = Table(title="Presence per case", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("site", no_wrap=True)
    table.add_column("target", no_wrap=True)
    for heading in ("with", "without", "ACC", "BACC", "F1", "AUC"):
        table.add_column(heading, justify="right")
    for name, targets in found.items():
        for target, own in targets.items():
            shares = (own.accuracy, own.balanced_accuracy, own.f1, own.auc)
            counts = [str(own.present), str(own.absent)]
            table.add_row(name, target, *counts, *(_show(value, 3) for value in shares))
    return table


def _target_cells(own: TargetSpread) -> list[str]:
    dice, nsd, hd95, assd = (
        own.metrics.get(name, Spread()) for name in ("dice", "nsd", "hd95_mm", "assd_mm")
    )
    interval = "-" if math.isnan(dice.low) else f"{dice.low:.3f}-{dice.high:.3f}"
    overlap = [_show(dice.mean, 3), interval, _show(dice.median, 3), _show(nsd.mean, 3)]
    counts = [str(own.false_negatives or ""), str(own.false_positives or "")]
    return [*overlap, _show(hd95.mean, 2), _show(assd.mean, 2), *counts]


def _mean_cells(sites: Sequence[SiteSpread]) -> list[str]:
    """The mean over sites of the mean over targets of the mean over cases."""
    means = {
        metric: _mean(
            [
                _mean([own.metrics.get(metric, Spread()).mean for own in site.targets.values()])
                for site in sites
            ]
        )
        for metric in ("dice", "nsd", "hd95_mm", "assd_mm")
    }
    overlap = [_show(means["dice"], 3), "", "", _show(means["nsd"], 3)]
    return [*overlap, _show(means["hd95_mm"], 2), _show(means["assd_mm"], 2), "", ""]


def _show(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
