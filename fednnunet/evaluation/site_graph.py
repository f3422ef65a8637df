"""The graph of sites with similar updates, and its chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fednnunet.evaluation.charts import COLOURS, INK, STYLE, as_svg

GRAPH = "graph.json"


LARGEST_GRAPH = 8
"""More sites than this are shown as a table of colours, since edges would cover each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEdge:
    """The similarity of two sites: the cosine of their updates, above 0 and at most 1."""

    one: str
    other: str
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteGraph:
    """The similarities after `round` rounds; sites with a cosine of 0 or less have no edge."""

    round: int
    sites: tuple[str, ...]
    edges: tuple[SiteEdge, ...]

    @classmethod
    def of(cls, graph: nx.Graph, *, round: int) -> SiteGraph:
        """From a graph whose edges have the attribute `weight`."""
        edges = []
        for one, other, weight in graph.edges(data="weight"):
            first, second = sorted((str(one), str(other)))
            edges.append(SiteEdge(one=first, other=second, similarity=float(weight)))
        edges.sort(key=lambda edge: (edge.one, edge.other))
        return cls(round=round, sites=tuple(sorted(graph)), edges=tuple(edges))

    def as_networkx(self) -> nx.Graph:
        """The graph with `weight` on its edges."""
        graph = nx.Graph()
        graph.add_nodes_from(self.sites)
        graph.add_weighted_edges_from((e.one, e.other, e.similarity) for e in self.edges)
        return graph


def graph_chart(graph: SiteGraph) -> str:
    """The graph as SVG text: sites on a circle, an edge's width is its similarity.

    Many sites are a table of colours instead.
    """
    if len(graph.sites) > LARGEST_GRAPH:
        return _matrix_chart(graph)
    places = nx.circular_layout(graph.as_networkx())
    with matplotlib.rc_context(STYLE):
        longest = max(map(len, graph.sites), default=0)
        figure = Figure(figsize=(min(4.4 + 0.14 * longest, 8.6), 3.6), layout="constrained")
        axes = figure.subplots()
        for edge in graph.edges:
            _draw_edge(axes, edge, places)
        for site, (x, y) in places.items():
            axes.plot([x], [y], "o", markersize=16, color="white", markeredgecolor=COLOURS[0])
            side = "left" if x > 0.01 else "right" if x < -0.01 else "center"
            outwards = (x * 14, y * 14)
            axes.annotate(
                site, (x, y), outwards, textcoords="offset points", ha=side, va="center", zorder=3
            )
        axes.margins(0.3 + 0.035 * longest, 0.3)
        axes.set_axis_off()
        return as_svg(figure)


def _matrix_chart(graph: SiteGraph) -> str:
    """A square for each pair of sites, the darker the more similar; none is white."""
    places = {site: number for number, site in enumerate(graph.sites)}
    values = np.zeros((len(places), len(places)))
    for edge in graph.edges:
        one, other = places[edge.one], places[edge.other]
        values[one, other] = values[other, one] = edge.similarity
    with matplotlib.rc_context(STYLE):
        side_inches = 2.4 + 0.22 * len(places)
        figure = Figure(figsize=(side_inches + 1.0, side_inches), layout="constrained")
        axes = figure.subplots()
        squares = axes.imshow(values, cmap="Blues", vmin=0.0, vmax=1.0)
        axes.set_xticks(range(len(places)), graph.sites, rotation=90)
        axes.set_yticks(range(len(places)), graph.sites)
        axes.tick_params(length=0)
        figure.colorbar(squares, ax=axes, shrink=0.6, label="similarity")
        return as_svg(figure)


def _draw_edge(axes: Axes, edge: SiteEdge, places: Mapping[str, Sequence[float]]) -> None:
    (x1, y1), (x2, y2) = places[edge.one], places[edge.other]
    width = 0.5 + 7 * edge.similarity
    axes.plot([x1, x2], [y1, y2], color=COLOURS[0], alpha=0.45, zorder=1, linewidth=width)
    third = (x1 + 0.38 * (x2 - x1), y1 + 0.38 * (y2 - y1))  # diagonals cross in the middle
    text = f"{edge.similarity:.2f}"
    axes.annotate(text, third, fontsize=7, ha="center", va="center", color=INK)
