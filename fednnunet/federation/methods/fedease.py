"""Sites are led together, by their likes where scanners show, and let go towards the end.

A model of one's own between the global and the local one is the mixture of Hanzely and Richtárik,
"Federated Learning of a Mixture of Global and Local Models", 2020 (L2GD), whose aggregation step
draws every site some way towards the mean. Two things are added here. The way is nearly whole for
most of the rounds and falls to nothing in the last ones, so that sites share what all can learn and
end with what their own scanner asks for; with x_k the reply of site k after round r of R,

    site k receives  (1 - b) * x_k + b * m_k,  b = 1 - (r / R) ** power,

and after the last round every site holds its own model; one that missed it stays as far on its way
as it was led after the round it was last in. And m_k is the mean over all sites for what tells of
anatomy, but for the first two stages of the encoder it is that over the neighbours of k, see
`similarity`. There a scanner's contrast shows within one round: sites of like contrast pull one
way, and one whose contrast is inverted would only be led astray. The updates of deeper stages,
which have far more weights, are nearly orthogonal by chance alone, and every site gains by them.

The global model begins as the mean over all sites by cases. As the sites have drifted apart by
then, the public rounds train it whole, as FedAvg does, and not its private part alone: give them
(`public_rounds`) about as many iterations as the joint rounds where hospitals outside need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import networkx as nx
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.head import fedbn_head
from fednnunet.federation.methods.method import (
    Merge,
    Method,
    Reply,
    State,
    Tensors,
    mean_by_cases,
)
from fednnunet.federation.methods.similarity import BySimilarity
from fednnunet.network.roles import encoder_stage


@dataclass(frozen=True, slots=True)
class AnnealedMixing:
    """A merge that leads each site to what `mean` would send it, less far after each round.

    The higher the `power`, the later sites are let go. It needs `State.rounds`; where that is 0,
    unknown, every site is led all the way.
    """

    mean: Merge
    power: float = 6.0

    def __post_init__(self) -> None:
        if self.power <= 0:
            raise InputError(f"the power of easing is {self.power}", mend="choose above 0")

    def __call__(self, state: State, replies: Sequence[Reply], /) -> State:
        """The state after the round; a site that did not reply keeps what it would receive."""
        merged = self.mean(state, replies)
        done = min(merged.round / state.rounds, 1.0) if state.rounds else 0.0
        pull = 1 - done**self.power
        led = {}
        for reply in replies:
            mean = merged.for_site.get(reply.site)
            if mean is None or mean is state.for_site.get(reply.site):  # one mean for all sites
                mean = merged.shared
            led[reply.site] = lerp(reply.tensors, mean, pull)
        return replace(merged, for_site={**merged.for_site, **led})


def lerp(own: Tensors, other: Tensors, way: float) -> Tensors:
    """Tensors that lie at the share `way` from `own` to `other`; whole numbers are `own`'s."""
    return {
        name: torch.lerp(tensor.double(), other[name].double(), way).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in own.items()
    }


def in_first_stages(name: str) -> bool:
    """Whether a tensor belongs to the first two stages of the encoder."""
    return encoder_stage(name) in (0, 1)


def site_graph(method: Method, state: State) -> nx.Graph | None:
    """The graph of sites that a method has drawn, if it draws one."""
    merge = method.merge.mean if isinstance(method.merge, AnnealedMixing) else method.merge
    return merge.graph(state) if isinstance(merge, BySimilarity) else None


likes = BySimilarity(over=in_first_stages)

fedease = replace(
    fedbn_head,
    about="sites are led to a mean, in the first stages their neighbours', and let go in the end; "
    "norm layers and heads stay (after L2GD, Hanzely and Richtárik 2020, and pFedGraph, Ye 2023)",
    merge=AnnealedMixing(likes),
    mean_needs_training=True,
)

fedease_all = replace(
    fedease,
    about="fedease without a graph: every site is led to the mean of all",
    merge=AnnealedMixing(mean_by_cases),
)

fedease_firm = replace(
    fedease,
    about="fedease without easing: every site receives its mean to the end",
    merge=likes,
)

fedease_open = replace(
    fedavg,
    about="fedease with norm layers and heads shared too",
    merge=AnnealedMixing(likes),
    mean_needs_training=True,
)
