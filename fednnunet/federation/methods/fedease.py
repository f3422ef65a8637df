"""FedEase: federated averaging with annealed ("eased") mixing of each site's weights and the mean.

Each site receives a mixture of its own reply and a mean over sites, after Hanzely and Richtárik,
"Federated Learning of a Mixture of Global and Local Models" (L2GD), 2020, whose aggregation step
moves every site some way towards the mean. Here the weight of the mean is annealed from nearly 1 to
0, so that sites first learn together what is common and end with what suits their own scanner. With
x_k the reply of site k after round r of R,

    site k receives  (1 - b) * x_k + b * m_k,  b = 1 - (r / R) ** power,

so after the last round every site holds its own model. A site that misses rounds keeps the mixture
of the last round that it took part in.

m_k is the mean over all sites, except in encoder stages 0-1, where it is the mean over sites with
similar updates, see `similarity`. There the contrast of a scanner shows within one round: sites
with similar contrast have similar updates, and averaging with a site of inverted contrast would
harm both. Updates of deeper stages, which have far more weights, are nearly orthogonal between any
two sites, and every site gains from averaging them.

By default normalisation layers and segmentation heads stay private. The global model is the mean
over all sites by cases. Since the sites' weights differ at the end, that mean needs training: the
public rounds train all of its tensors by FedAvg, not only the private parts. Where external
hospitals need a model, give about as many iterations to the public rounds
(`public_rounds`) as to the joint ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Aggregation, Merge, Needs, Reply, State, Tensors
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.federation.methods.similarity import BySimilarity
from fednnunet.network.roles import encoder_stage


@dataclass(frozen=True, slots=True)
class AnnealedMixing:
    """A merge: each site's reply mixed with what `mean` would send it, by an annealed weight.

    The higher the `power`, the later the weight of the mean falls. It needs `State.rounds`; where
    that is 0, unknown, the weight stays 1.
    """

    needs: ClassVar[Needs] = "replies"

    mean: Merge
    power: float

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise InputError(f"power is {self.power}", mend="choose a power above 0, e.g. 6")

    @property
    def keeps_equal_sites(self) -> bool:
        """As `mean`."""
        return self.mean.keeps_equal_sites

    def start(self, state: State, /) -> MixingAggregation:
        """Begin the mean of a round, with which the replies are mixed."""
        return MixingAggregation(state, self.mean.start(state), self.power)

    def artefacts(self, state: State, /) -> Mapping[str, object]:
        """Those of `mean`."""
        return self.mean.artefacts(state)


class MixingAggregation:
    """The replies of a round, and their mean."""

    def __init__(self, state: State, mean: Aggregation, power: float) -> None:
        self._state, self._mean, self._power = state, mean, power
        self._replies: list[Reply] = []

    def add(self, reply: Reply, /) -> None:
        """Add the reply to the mean, and keep it to be mixed with that."""
        self._mean.add(reply)
        self._replies.append(reply)

    def finish(self) -> State:
        """The state after the round; a site that did not reply keeps what it would receive."""
        merged = self._mean.finish()
        done = min(merged.round / merged.rounds, 1.0) if merged.rounds else 0.0
        weight = 1 - done**self._power
        mixed = {}
        for reply in self._replies:
            mean = merged.for_site.get(reply.site)
            if mean is None or mean is self._state.for_site.get(reply.site):  # one mean for all
                mean = merged.shared
            mixed[reply.site] = lerp(reply.tensors, mean, weight)
        return replace(merged, for_site={**merged.for_site, **dict(sorted(mixed.items()))})


def lerp(own: Tensors, other: Tensors, weight: float) -> Tensors:
    """Linear interpolation: (1 - weight) * own + weight * other; integer tensors are `own`'s."""
    return {
        name: torch.lerp(tensor.double(), other[name].double(), weight).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in own.items()
    }


def in_first_stages(name: str) -> bool:
    """Whether a tensor belongs to the first two stages of the encoder."""
    return encoder_stage(name) in (0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FedEase:
    """Replies are mixed with a mean, its weight annealed to 0 (after L2GD 2020, pFedGraph 2023)."""

    tag: ClassVar[str] = "fedease"

    annealing: bool = True
    """Whether the weight of the mean falls to 0; if not, each site receives its mean to the end."""

    power: float = 6.0
    """Exponent of the annealing; the higher, the later the weight of the mean falls. Above 0."""

    graph: bool = True
    """Whether encoder stages 0-1 are averaged over sites with similar updates, not over all."""

    min_similarity: float = 0.0
    """Cosine of updates above which sites are neighbours in the graph, from 0 to below 1."""

    decay: float = 0.5
    """Weight of earlier rounds in the similarity of two sites, from 0 to below 1."""

    private: Private = ("norm", "head")
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where they make no sense."""
        if not (self.annealing or self.graph):
            raise InputError(
                "FedEase without annealing and graph is FedAvg",
                mend='choose method = "fedavg" with the same private parts, or set one of the two',
            )
        if self.graph and "encoder" in self.private:
            raise InputError(
                "the graph compares updates of the encoder, which is private",
                mend='set graph = false, or take "encoder" out of private',
            )
        merge: Merge = mean_by_cases
        if self.graph:
            merge = BySimilarity(
                min_similarity=self.min_similarity, decay=self.decay, over=in_first_stages
            )
        if self.annealing:
            merge = AnnealedMixing(merge, self.power)
        return Method(
            is_shared=AllBut(self.private),
            merge=merge,
            mean_needs_training=True,
            scales_learning_rate=True,
        )
