"""Every site receives a mean of its own: of the sites that pull the same way as it does.

After Ye et al., "Personalized Federated Learning with Inferred Collaboration Graphs" (pFedGraph),
ICML 2023: the coordinator infers a graph of the sites from what they send, and each receives its
neighbourhood's mean. Here the graph is undirected, and with D_k the change that site k made to
what it received,

    s_kl = cos(D_k, D_l), a mean over rounds in which the newest counts 1 - `decay`,
    edge k-l  where s_kl > `least`, with weight s_kl;  s_kk = 1,
    site k receives  sum_l cases_l * s_kl * reply_l / sum_l cases_l * s_kl

over itself and its neighbours. So sites that all pull one way get FedAvg's mean, and one that is
like no other trains alone. The paper finds the weights by a quadratic programme and keeps local
training near them; both are left out. For hospitals outside, the mean over all sites by cases is
the global model. What a site receives tells it something of its neighbours alone, which FedAvg's
mean over all hides better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import networkx as nx
import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.method import Reply, State, Tensors, mean_by_cases
from fednnunet.federation.methods.updates import Pulls
from fednnunet.federation.wire.tensors import weighted_mean

_PAIR = "similarity/"  # in memory, `similarity/<site>/<site>`, the names sorted


@dataclass(frozen=True, slots=True, kw_only=True)
class BySimilarity:
    """A merge whose state holds a mean for all and one for each site.

    `over(tensor_name)` restricts what is compared, and what the neighbours alone are averaged for
    (None: all); of other tensors every site receives the mean over all sites by cases.
    """

    least: float = 0.0
    decay: float = 0.5
    over: Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.least < 1 and 0 <= self.decay < 1):
            raise InputError(
                f"least is {self.least} and decay {self.decay}",
                mend="choose both from 0 to below 1",
            )

    def __call__(self, state: State, replies: Sequence[Reply], /) -> State:
        """The state after the round; sites that did not reply keep what they would receive."""
        ordered = sorted(replies, key=lambda reply: reply.site)
        memory = {**state.memory, **self._similarities(state, ordered)}
        merged = replace(mean_by_cases(state, ordered), memory=memory)
        graph = self.graph(merged)
        near = [replace(reply, tensors=self._compared(reply.tensors)) for reply in ordered]
        means = {
            reply.site: {**merged.shared, **_neighbourhood(graph, reply.site, near)}
            for reply in ordered
        }
        return replace(merged, for_site={**state.for_site, **means})

    def graph(self, state: State) -> nx.Graph:
        """The sites that have replied so far; `weight` of an edge is the similarity."""
        graph = nx.Graph()
        graph.add_nodes_from(sorted(state.for_site))
        for name, value in sorted(state.memory.items()):
            if name.startswith(_PAIR):
                one, other = name.removeprefix(_PAIR).split("/")
                graph.add_nodes_from((one, other))
                if float(value) > self.least:
                    graph.add_edge(one, other, weight=float(value))
        return graph

    def _compared(self, tensors: Tensors) -> Tensors:
        return {name: t for name, t in tensors.items() if self.over is None or self.over(name)}

    def _similarities(self, state: State, ordered: Sequence[Reply]) -> dict[str, Tensor]:
        pulls = Pulls.of(state, ordered, self.over)
        found = {}
        for one, other in combinations(pulls.sites, 2):
            name, now = f"{_PAIR}{one}/{other}", pulls.cosine({one: 1.0}, {other: 1.0})
            before = state.memory.get(name)
            mean = now if before is None else self.decay * float(before) + (1 - self.decay) * now
            found[name] = torch.tensor(mean, dtype=torch.float64)
        return found


def _neighbourhood(graph: nx.Graph, site: str, ordered: Sequence[Reply]) -> Tensors:
    """The mean over a site and those of its neighbours that replied, by cases and similarity."""
    near: Mapping[str, float] = {
        site: 1.0,
        **({n: e["weight"] for n, e in graph.adj[site].items()} if site in graph else {}),
    }
    return weighted_mean(
        [(reply.tensors, reply.cases * near[reply.site]) for reply in ordered if reply.site in near]
    )


similarity = replace(
    fedavg,
    about="each site receives the mean of sites that pull its way (after pFedGraph, Ye 2023)",
    merge=BySimilarity(),
)
