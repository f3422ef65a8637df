"""Box plots of the scores of a target, a box for each site, as SVG text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fednnunet.evaluation.charts import COLOURS, FAINT, INK, STYLE, as_svg, plain
from fednnunet.evaluation.metrics import CaseScores

PANELS = (("dice", "Dice"), ("nsd", "NSD"), ("hd95_mm", "HD95 in mm"))
_WIDTH = 0.26  # over which the points of a site are spread


def box_plots(target: str, cases: Mapping[str, Sequence[CaseScores]]) -> str:
    """Dice, NSD and HD95 of a target: box and whiskers of each site's cases, and every case.

    The box goes from the first to the third quartile, its line is the median, and the whiskers end
    at the last case within 1.5 times the box. Cases for which a metric is not defined are left out.
    """
    sites = sorted(cases)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 1.0 + 0.34 * len(sites)), layout="constrained")
        for place, (axes, (metric, title)) in enumerate(
            zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True)
        ):
            values = {site: _values(cases[site], target, metric) for site in sites}
            _panel(axes, values, COLOURS[0])
            axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
            axes.set_yticks(range(len(sites)), sites)
            axes.set_ylim(len(sites) - 0.5, -0.5)
            axes.set_xlim((-0.02, 1.02) if place < 2 else (0, None))
        return as_svg(figure)


def _values(cases: Sequence[CaseScores], target: str, metric: str) -> list[float]:
    values = (float(getattr(case.targets[target], metric)) for case in cases)
    return [value for value in values if not math.isnan(value)]


def _panel(axes: Axes, values: Mapping[str, list[float]], colour: str) -> None:
    """One metric: a row for each site."""
    plain(axes)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for row, own in enumerate(values.values()):
        if not own:
            axes.text(0.02, row, "no case", fontsize=8, va="center", color=INK)
            continue
        axes.boxplot(
            [own],
            positions=[row],
            orientation="horizontal",
            widths=0.5,
            showfliers=False,
            manage_ticks=False,
            medianprops={"color": colour, "linewidth": 1.6},
            boxprops={"color": INK, "linewidth": 0.8},
            whiskerprops={"color": INK, "linewidth": 0.8},
            capprops={"color": INK, "linewidth": 0.8},
        )
        jitter = (np.arange(len(own)) * 0.618 % 1 - 0.5) * _WIDTH
        axes.scatter(own, row + jitter, s=9, color=colour, alpha=0.55, linewidths=0)
