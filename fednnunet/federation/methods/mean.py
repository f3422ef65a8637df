"""The weighted mean of the replies: FedAvg's merge, and with other weights that of fair methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from fednnunet.federation.methods.merge import Needs, Reply, State
from fednnunet.federation.wire.exact_sum import WeightedMean

Weight = Callable[[Reply], float]
"""What a reply counts in the mean, not normalised; may raise ReplyError."""


def by_cases(reply: Reply) -> float:
    """FedAvg's weight: the site's training cases."""
    return float(reply.cases)


def uniform(reply: Reply) -> float:
    """Every site counts the same, whatever its number of cases."""
    return 1.0


@dataclass(frozen=True, slots=True)
class MeanBy:
    """A merge: the mean of the replies by `weight`, each added as it comes (`WeightedMean`)."""

    needs: ClassVar[Needs] = "sum"
    keeps_equal_sites: ClassVar[bool] = True

    weight: Weight

    def start(self, state: State, /) -> MeanAggregation:
        """Begin the mean of a round."""
        return MeanAggregation(state, self.weight)

    def artefacts(self, state: State, /) -> Mapping[str, object]:
        """None."""
        return {}


class MeanAggregation:
    """The running mean of a round's replies."""

    def __init__(self, state: State, weight: Weight) -> None:
        self._state, self._weight, self._mean = state, weight, WeightedMean()

    def add(self, reply: Reply, /) -> None:
        """Add the reply by its weight; raises ReplyError where it cannot be summed."""
        self._mean.add(reply.site, reply.tensors, self._weight(reply))

    def finish(self) -> State:
        """The state after the round; raises ReplyError where the weights sum to nothing."""
        mean = self._mean.mean()
        shared = {name: mean[name] for name in self._state.shared}
        return replace(self._state, round=self._state.round + 1, shared=shared)


mean_by_cases = MeanBy(by_cases)
