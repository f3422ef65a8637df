"""A mean that is extrapolated where the sites' updates cancel (FedExP).

Jhunjhunwala et al., "FedExP: Speeding Up Federated Averaging via Extrapolation", ICLR 2023. The
mean of updates that point in different directions is shorter than the updates, so averaging is a
damped step. With D_k the update of site k (reply minus what was sent), p_k its share of the
training cases and D = sum_k p_k D_k, the coordinator makes the step

    x = x + a D,    a = min(max(1, sum_k p_k |D_k|^2 / (2 |D|^2)), bound).

The paper weighs sites alike and has no bound of its own: sites that train by AdamW make updates
that are nearly orthogonal, for which the factor grows to half the number of sites.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Aggregation, Merge, Needs, Reply, State, Tensors
from fednnunet.network.roles import is_trained

FACTOR = "extrapolation"  # in memory: the factor of the last round


@dataclass(frozen=True, slots=True)
class Extrapolated:
    """A merge: the step that `mean` would make, times FedExP's factor up to `bound`.

    Only trained tensors take the longer step; counters and running statistics are what `mean` says.
    """

    keeps_equal_sites: ClassVar[bool] = False

    mean: Merge = mean_by_cases
    bound: float = 2.0

    @property
    def needs(self) -> Needs:
        """As `mean`."""
        return self.mean.needs

    def start(self, state: State, /) -> ExtrapolatedAggregation:
        """Begin the mean of a round, after which the step is made."""
        return ExtrapolatedAggregation(state, self.mean.start(state), self.bound)

    def artefacts(self, state: State, /) -> Mapping[str, object]:
        """Those of `mean`."""
        return self.mean.artefacts(state)


class ExtrapolatedAggregation:
    """The mean of a round, and the squared norms of the sites' updates."""

    def __init__(self, state: State, mean: Aggregation, bound: float) -> None:
        self._state, self._mean, self._bound = state, mean, bound
        self._squares: dict[str, tuple[float, float]] = {}

    def add(self, reply: Reply, /) -> None:
        """Add the reply to the mean; of its update only the norm is kept."""
        self._mean.add(reply)
        square = _squared_change(self._state.received(reply.site), reply.tensors)
        self._squares[reply.site] = (float(reply.cases), square)

    def finish(self) -> State:
        """The state after the extrapolated step; the order of the replies changes no bit of it."""
        mean = self._mean.finish()
        cases = sum(cases for _, (cases, _) in sorted(self._squares.items()))
        squares = [cases * square for _, (cases, square) in sorted(self._squares.items())]
        factor = _factor(
            sum(squares) / cases if cases else 0.0,
            _squared_change(self._state.shared, mean.shared),
            self._bound,
        )
        shared = {
            name: _further(self._state.shared[name], tensor, factor)
            if is_trained(name, tensor)
            else tensor
            for name, tensor in mean.shared.items()
        }
        memory = {**mean.memory, FACTOR: torch.tensor(factor, dtype=torch.float64)}
        return replace(mean, shared=shared, memory=memory)


def _factor(mean_square: float, square_of_mean: float, bound: float) -> float:
    if square_of_mean <= 0:
        return 1.0
    return min(max(1.0, mean_square / (2 * square_of_mean)), bound)


def _squared_change(before: Tensors, after: Tensors) -> float:
    return sum(
        float((tensor.double() - before[name].double()).square().sum())
        for name, tensor in sorted(after.items())
        if is_trained(name, tensor)
    )


def _further(old: torch.Tensor, new: torch.Tensor, factor: float) -> torch.Tensor:
    return torch.lerp(old.double(), new.double(), factor).to(new.dtype)
