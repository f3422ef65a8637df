"""What a federated method is: both of its halves in one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from fednnunet.federation.weights import weighted_mean

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One site's reply as a method sees it: its shared tensors and its number of cases."""

    site: str
    tensors: Tensors
    cases: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that the coordinator knows between rounds: one value, saved and resumed whole.

    `shared` is what the sites receive. `memory` is the method's own (a server optimiser's moments).
    """

    round: int
    shared: Tensors
    memory: Tensors = field(default_factory=dict)


class Merge(Protocol):
    """The coordinator's half: a new state from the replies, whatever their order."""

    def __call__(self, state: State, replies: Sequence[Reply], /) -> State:
        """The state after the round."""
        ...


class LocalTerm(Protocol):
    """The site's half: a term added to its loss, from the network now and what it received."""

    def __call__(self, network: nn.Module, received: Tensors, /) -> Tensor:
        """A scalar to add to the loss."""
        ...


Weights = Callable[[Sequence[Reply]], Mapping[str, float]]
"""A weight, not yet normalised, for the name of each site that replied."""


def by_cases(replies: Sequence[Reply]) -> dict[str, float]:
    """FedAvg's weights: each site counts by its training cases."""
    return {reply.site: float(reply.cases) for reply in replies}


@dataclass(frozen=True, slots=True)
class MeanBy:
    """A merge: the mean of the replies by `weights`, summed in float64 by site name.

    `weights` sees the replies sorted by site too, so a sum over sites in it is in a fixed order.
    Sites that all send the same keep it bit for bit (tensors of 32 bits or fewer).
    """

    weights: Weights

    def __call__(self, state: State, replies: Sequence[Reply], /) -> State:
        """The state after the round; raises ReplyError where the weights sum to nothing."""
        ordered = sorted(replies, key=lambda reply: reply.site)
        weights = self.weights(ordered)
        merged = weighted_mean([(reply.tensors, weights[reply.site]) for reply in ordered])
        return State(round=state.round + 1, shared=merged, memory=state.memory)


mean_by_cases = MeanBy(by_cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to train together.

    `leaves(tensor_name)` says which tensors are shared; all others stay on the site's disk.
    `local_term`, if any, is added to the site's loss. `merge` makes the next state.
    """

    about: str
    leaves: Callable[[str], bool]
    local_term: LocalTerm | None = None
    merge: Merge = mean_by_cases

    def shared(self, tensors: Tensors) -> dict[str, Tensor]:
        """The part of `tensors` that leaves a site."""
        return {name: tensor for name, tensor in tensors.items() if self.leaves(name)}

    def private(self, tensors: Tensors) -> dict[str, Tensor]:
        """The part of `tensors` that stays."""
        return {name: tensor for name, tensor in tensors.items() if not self.leaves(name)}
