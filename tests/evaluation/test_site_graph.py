from __future__ import annotations

import pytest

from fednnunet import records
from fednnunet.evaluation.site_graph import SiteEdge, SiteGraph, graph_chart

EDGES = (
    SiteEdge(one="a", other="b", similarity=0.9),
    SiteEdge(one="b", other="c", similarity=0.25),
)
GRAPH = SiteGraph(round=3, sites=("a", "b", "c", "lonely"), edges=EDGES)


def test_the_graph_survives_the_disk_and_networkx(tmp_path):
    records.write(GRAPH, tmp_path / "graph.json")
    assert records.read(SiteGraph, tmp_path / "graph.json") == GRAPH
    assert SiteGraph.of(GRAPH.as_networkx(), round=3) == GRAPH


def test_the_picture_is_the_same_every_time():
    one = graph_chart(GRAPH)
    assert one == graph_chart(GRAPH)
    assert one.count("<svg") == 1


@pytest.mark.parametrize("sites", [(), ("a",), ("a", "b")])
def test_few_sites_are_drawn_too(sites):
    assert "</svg>" in graph_chart(SiteGraph(round=1, sites=sites, edges=()))


def test_many_sites_are_a_table_of_colours() -> None:
    """With 20 sites the edges of a graph would cover each other and their numbers."""
    names = tuple(f"site_{number:02d}" for number in range(20))
    edges = tuple(SiteEdge(one=a, other=b, similarity=0.5) for a in names for b in names if a < b)
    few, many = (SiteGraph(round=1, sites=names[:n], edges=edges[: n - 1]) for n in (6, 20))
    assert "<image" not in graph_chart(few)
    assert "<image" in graph_chart(many)
