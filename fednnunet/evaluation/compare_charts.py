"""Charts of a comparison, as SVG text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fednnunet.evaluation.charts import COLOURS, FAINT, INK, MARKERS, STYLE, as_svg, plain
from fednnunet.evaluation.trials import Entry
from fednnunet.evaluation.verdicts import BETTER, WORSE, Difference

_GOOD, _BAD, _NEUTRAL = "#2f855a", "#b83232", "#6b7280"


def colour_of(index: int) -> str:
    """The colour of an entry by its index, the same in every chart."""
    return COLOURS[index % len(COLOURS)]


def boxes_chart(found: Sequence[Entry]) -> str:
    """Box plots of the Dice of held-out cases: a panel per site, a box per entry, a dot per case.

    Boxes extend from the first to the third quartile, with a line at the median; whiskers extend to
    the last case within 1.5 interquartile ranges. Cases are averaged over seeds.
    """
    sites = sorted({site for entry in found for site in entry.dice})
    columns = 2 if len(sites) > 1 else 1
    rows = max(1, -(-len(sites) // columns))
    with matplotlib.rc_context(STYLE):
        height = rows * (0.55 + 0.27 * len(found)) + 0.3
        figure = Figure(figsize=(8.6, height), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, site in zip(grid.flat, sites, strict=False):
            _boxes(axes, found, site)
        for axes in grid.flat[len(sites) :]:
            axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel("Dice of a case")
        grid[0, 0].set_xlim(right=1.0)
        return as_svg(figure)


def _boxes(axes: Axes, found: Sequence[Entry], site: str) -> None:
    for row, entry in enumerate(found):
        own = [d for (place, _), d in entry.cases.items() if place == site and not math.isnan(d)]
        if not own:
            continue
        colour = colour_of(row)
        first, middle, third = np.quantile(own, [0.25, 0.5, 0.75])
        reach = 1.5 * (third - first)
        near = [d for d in own if first - reach <= d <= third + reach]
        axes.plot([min(near), max(near)], [row, row], color=colour, linewidth=1)
        axes.barh(
            row,
            third - first,
            left=first,
            height=0.6,
            facecolor=colour + "33",
            edgecolor=colour,
            zorder=2,
        )
        axes.plot([middle, middle], [row - 0.3, row + 0.3], color=colour, linewidth=2)
        shifts = np.linspace(-0.18, 0.18, len(own)) if len(own) > 1 else np.zeros(1)
        axes.scatter(own, row + shifts, s=7, color=colour, alpha=0.7, linewidths=0, zorder=3)
    plain(axes)
    axes.set_title(site, loc="left", fontsize=10, fontweight="bold")
    axes.set_yticks(range(len(found)), [entry.name for entry in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def seeds_chart(found: Sequence[Entry]) -> str:
    """A row per entry: the mean Dice over sites for each seed, and the mean over seeds."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 0.6 + 0.27 * len(found)), layout="constrained")
        axes = figure.subplots()
        for row, entry in enumerate(found):
            values, colour = list(entry.by_seed.values()), colour_of(row)
            axes.scatter(values, [row] * len(values), s=26, color=colour, alpha=0.45, linewidths=0)
            axes.scatter([entry.mean], [row], s=120, marker="|", color=colour, linewidths=2.2)
        plain(axes)
        axes.set_yticks(range(len(found)), [entry.name for entry in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.set_xlabel("mean Dice of sites")
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        return as_svg(figure)


def differences_chart(differences: Sequence[Difference]) -> str:
    """A row per comparison: the mean difference with its interval, and that of each seed."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 0.7 + 0.32 * len(differences)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
        for row, difference in enumerate(differences):
            colour = {BETTER: _GOOD, WORSE: _BAD}.get(difference.verdict, _NEUTRAL)
            low, high = difference.pairs.interval
            axes.plot([low, high], [row, row], color=colour, linewidth=2.2, zorder=2)
            axes.scatter([difference.pairs.mean], [row], s=46, color=colour, zorder=3)
            seeds = list(difference.pairs.by_seed.values())
            places = [row + 0.27] * len(seeds)
            axes.scatter(seeds, places, s=16, marker=MARKERS[3], color=colour, alpha=0.55)
        plain(axes)
        names = [f"{d.name}  \N{MINUS SIGN}  {d.over}" for d in differences]
        axes.set_yticks(range(len(differences)), names)
        axes.set_ylim(len(differences) - 0.4, -0.6)
        axes.set_xlabel("difference in Dice of a case")
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        return as_svg(figure)
