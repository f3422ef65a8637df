"""Every site receives a mean of its own: over the sites with similar updates.

After Ye et al., "Personalized Federated Learning with Inferred Collaboration Graphs" (pFedGraph),
ICML 2023: the coordinator infers a graph of the sites from what they send, and each receives its
neighbourhood's mean. Here the graph is undirected, and with D_k the update of site k (reply minus
what it received),

    s_kl = cos(D_k, D_l), averaged over rounds, the newest with weight 1 - `decay`,
    edge k-l  where s_kl > `min_similarity`, with weight s_kl;  s_kk = 1,
    site k receives  sum_l cases_l * s_kl * reply_l / sum_l cases_l * s_kl

over itself and its neighbours. So sites whose updates have one direction get FedAvg's mean, and one
that is similar to no other trains alone. The paper finds the weights by a quadratic programme and
regularises local training towards them; both are left out. For external hospitals,
the mean over all sites by cases is the global model. A site's mean reveals more of its few
neighbours than FedAvg's mean over all does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import ClassVar

import networkx as nx
import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.evaluation.site_graph import GRAPH, SiteGraph
from fednnunet.federation.methods.merge import Collected, Merge, Needs, Reply, State, Tensors
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.federation.methods.site_mean import SiteMean
from fednnunet.federation.methods.updates import UpdateProducts

_PAIR = "similarity/"  # in memory, `similarity/<site>/<site>`, the names sorted


@dataclass(frozen=True, slots=True, kw_only=True)
class BySimilarity:
    """A merge whose state holds a mean for all and one for each site.

    Where `over(tensor_name)` is given, only those tensors are compared and averaged over
    neighbours; of all others every site receives the mean over all sites. `common` says how sites
    count in both means (default: by cases); `for_all` replaces the mean over all sites, e.g. by a
    server's step.
    """

    needs: ClassVar[Needs] = "replies"
    keeps_equal_sites: ClassVar[bool] = True

    min_similarity: float
    decay: float
    over: Callable[[str], bool] | None = None
    common: SiteMean = field(default_factory=SiteMean)
    for_all: Merge | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.min_similarity < 1 and 0 <= self.decay < 1):
            raise InputError(
                f"min_similarity is {self.min_similarity} and decay {self.decay}",
                mend="choose both from 0 to below 1",
            )

    def start(self, state: State, /) -> Collected:
        """Begin a round."""
        return Collected(state, self._merge)

    def artefacts(self, state: State, /) -> Mapping[str, SiteGraph]:
        """The graph of sites, for the run's folder and its report."""
        return {GRAPH: SiteGraph.of(self.graph(state), round=state.round)}

    def graph(self, state: State) -> nx.Graph:
        """The sites that have replied so far; `weight` of an edge is the similarity."""
        graph = nx.Graph()
        graph.add_nodes_from(sorted(state.for_site))
        for name, value in sorted(state.memory.items()):
            if name.startswith(_PAIR):
                one, other = name.removeprefix(_PAIR).split("/")
                graph.add_nodes_from((one, other))
                if float(value) > self.min_similarity:
                    graph.add_edge(one, other, weight=float(value))
        return graph

    def _merge(self, state: State, replies: Sequence[Reply]) -> State:
        """The state after the round; sites that did not reply keep what they would receive."""
        memory = {**state.memory, **self._similarities(state, replies)}
        weights = self.common.weights(state, replies)
        merged = self._mean_of_all(state, replies, weights)
        merged = replace(merged, memory={**merged.memory, **memory})
        shared = merged.shared
        graph = self.graph(merged)
        near = [replace(reply, tensors=self._compared(reply.tensors)) for reply in replies]
        means = {}
        for site in weights:
            counts = _neighbourhood(graph, site, weights)
            around = [reply for reply in near if reply.site in counts]
            means[site] = {**shared, **self.common.mean(state, around, counts)}
        return replace(merged, for_site={**state.for_site, **means})

    def _mean_of_all(
        self, state: State, replies: Sequence[Reply], weights: Mapping[str, float]
    ) -> State:
        """The state after the round as far as all sites have one mean."""
        if self.for_all is None:
            mean = self.common.mean(state, replies, weights)
            shared = {name: mean[name] for name in state.shared}
            return replace(state, round=state.round + 1, shared=shared)
        aggregation = self.for_all.start(state)
        for reply in replies:
            aggregation.add(reply)
        return aggregation.finish()

    def _compared(self, tensors: Tensors) -> Tensors:
        return {name: t for name, t in tensors.items() if self.over is None or self.over(name)}

    def _similarities(self, state: State, ordered: Sequence[Reply]) -> dict[str, Tensor]:
        products = UpdateProducts.of(state, ordered, self.over)
        found = {}
        for one, other in combinations(products.sites, 2):
            name, now = f"{_PAIR}{one}/{other}", products.cosine({one: 1.0}, {other: 1.0})
            before = state.memory.get(name)
            mean = now if before is None else self.decay * float(before) + (1 - self.decay) * now
            found[name] = torch.tensor(mean, dtype=torch.float64)
        return found


def _neighbourhood(graph: nx.Graph, site: str, weights: Mapping[str, float]) -> dict[str, float]:
    """What a site and those of its neighbours that replied count, by similarity, too."""
    near: Mapping[str, float] = {
        site: 1.0,
        **({n: e["weight"] for n, e in graph.adj[site].items()} if site in graph else {}),
    }
    found = {name: weights[name] * similar for name, similar in near.items() if name in weights}
    return found if any(found.values()) else {site: 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """Each site receives the mean of sites with similar updates (after pFedGraph, Ye 2023)."""

    tag: ClassVar[str] = "similarity"

    min_similarity: float = 0.0
    """Sites are neighbours where the cosine of their updates is above this; from 0 to below 1."""

    decay: float = 0.5
    """Weight of earlier rounds in the similarity of two sites, from 0 to below 1."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(
            is_shared=AllBut(self.private),
            merge=BySimilarity(min_similarity=self.min_similarity, decay=self.decay),
        )
