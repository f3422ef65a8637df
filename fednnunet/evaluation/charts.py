"""Charts of the report, as SVG text."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, FAINT = "#26313b", "#d9dee3"
COLOURS = (
    "#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280", "#6b7280", "#0987a0", "#975a16",
)  # fmt: skip
_MANY = tuple(map(to_hex, matplotlib.colormaps["tab20"](range(20))))  # for many sites
_LEGEND_CHARACTERS = 120  # that a line of the legend holds, with 8 for a column's key
MARKERS = ("o", "D", "s", "^", "v", "P", "X", "*")

STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "fednnunet",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPoint:
    """One site in one round: mean training loss, and Dice on patches (0 to 1); NaN is left out.

    Phases other than "", such as public rounds, are plotted with dotted lines.
    """

    round: int
    site: str
    loss: float
    dice: float
    phase: str = ""


def history_chart(points: Sequence[RoundPoint]) -> str:
    """Loss and Dice per round, a line for each site."""
    with matplotlib.rc_context(STYLE):
        sites = sorted({point.site for point in points})
        longest = max(map(len, sites), default=0)
        columns = max(1, min(len(sites), _LEGEND_CHARACTERS // (longest + 8)))
        rows = -(-len(sites) // columns)
        figure = Figure(figsize=(8.6, 2.9 + 0.2 * rows), layout="constrained")
        left, right = figure.subplots(1, 2)
        colours = COLOURS if len(sites) <= len(COLOURS) else _MANY
        for axes, name, title in ((left, "loss", "Training loss"), (right, "dice", "Patch Dice")):
            for index, site in enumerate(sites):
                own = sorted((p for p in points if p.site == site), key=lambda p: p.round)
                _line(axes, own, name, colours[index % len(colours)], site)
            plain(axes)
            axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
            axes.set_xlabel("round")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="y", color=FAINT, linewidth=0.6)
        right.set_ylim(0.0, 1.0)
        handles, labels = right.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            frameon=False,
            fontsize=8,
            loc="outside lower left",
            ncols=columns,
        )
        return as_svg(figure)


def dice_chart(models: Mapping[str, Mapping[str, float]]) -> str:
    """A row for each site with a marker for the mean Dice of each model; NaN is left out."""
    sites = sorted({site for values in models.values() for site in values})
    defined = [v for values in models.values() for v in values.values() if not math.isnan(v)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 0.9 + 0.36 * len(sites)), layout="constrained")
        axes = figure.subplots()
        for row, site in enumerate(sites):
            found = [m[site] for m in models.values() if not math.isnan(m.get(site, math.nan))]
            if found:
                axes.plot([min(found), max(found)], [row, row], color=FAINT, linewidth=3, zorder=1)
        for index, (model, values) in enumerate(models.items()):
            rows = [sites.index(site) for site in values]
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            axes.scatter(
                list(values.values()),
                rows,
                color=colour,
                marker=marker,
                s=42,
                label=model,
                zorder=2,
            )
        plain(axes)
        axes.set_yticks(range(len(sites)), sites)
        axes.set_ylim(len(sites) - 0.5, -0.5)
        low = min(defined, default=0.0)
        axes.set_xlim(max(0.0, low - 0.08), 1.0)
        axes.set_xlabel("mean foreground Dice")
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        columns = max(1, min(len(models), 4))
        figure.legend(frameon=False, fontsize=8, loc="outside upper left", ncols=columns)
        return as_svg(figure)


def _line(axes: Axes, points: Sequence[RoundPoint], name: str, colour: str, site: str) -> None:
    label: str | None = site
    for phase in sorted({point.phase for point in points}):
        own = [point for point in points if point.phase == phase]
        rounds, values = [p.round for p in own], [getattr(p, name) for p in own]
        dots = "o" if len(own) < 25 else ""
        style = "-" if not phase else ":"
        axes.plot(
            rounds,
            values,
            style,
            color=colour,
            marker=dots,
            markersize=3,
            linewidth=1.4,
            label=label,
        )
        label = None


def plain(axes: Axes) -> None:
    """Hide the upper and right spines and the ticks."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)


def as_svg(figure: Figure) -> str:
    """A figure as SVG text; equal figures give equal text."""
    stream = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    return stream.getvalue().decode("utf-8")
