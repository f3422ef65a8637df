"""The mean of the replies by a rule of weights: what `[training.weights]` and `.merging` describe.

Without these tables it is the mean by cases (`mean`), bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from fednnunet.federation.methods.conflicts import add_updates, without_conflicts
from fednnunet.federation.methods.head_rows import RowMeans
from fednnunet.federation.methods.merge import Aggregation, Collected, Needs, Reply, State
from fednnunet.federation.methods.merging import Merging
from fednnunet.federation.methods.weighting.plain import Cases
from fednnunet.federation.methods.weighting.rule import WeightRule
from fednnunet.federation.wire.exact_sum import WeightedMean


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteMean:
    """A merge: the mean of the replies by the weights of `rule`, taken as `merging` says."""

    rule: WeightRule = field(default_factory=Cases)
    merging: Merging = field(default_factory=Merging)

    @property
    def needs(self) -> Needs:
        """All replies where the rule compares sites, or where conflicts are dropped."""
        return "replies" if self.merging.conflicts == "drop" else self.rule.needs

    @property
    def keeps_equal_sites(self) -> bool:
        """All weights are kept that all sites send alike, but for rows that nobody annotates."""
        return self.merging.head_rows == "all"

    def start(self, state: State, /) -> Aggregation:
        """Begin the mean of a round."""
        if self.needs == "sum":
            return SiteMeanAggregation(state, self)
        return Collected(state, self._merge)

    def artefacts(self, state: State, /) -> Mapping[str, object]:
        """None."""
        return {}

    def weights(self, state: State, replies: Sequence[Reply]) -> dict[str, float]:
        """What each site counts, not normalised."""
        return self.rule.weights(state, replies)

    def mean(
        self, state: State, replies: Sequence[Reply], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """The mean of the replies' tensors by such weights.

        Raises ReplyError where they cannot be summed, or where the weights sum to nothing.
        """
        sums = self.sums(state)
        for reply in replies:
            sums.add(reply, weights[reply.site])
        found = sums.mean()
        if self.merging.conflicts == "drop":
            factors = without_conflicts(state, replies, weights)
            found = add_updates(found, state, replies, factors)
        return found

    def sums(self, state: State) -> RowMeans | PlainMeans:
        """What replies are added to."""
        return RowMeans(state) if self.merging.head_rows == "annotated" else PlainMeans()

    def _merge(self, state: State, replies: Sequence[Reply]) -> State:
        mean = self.mean(state, replies, self.weights(state, replies))
        shared = {name: mean[name] for name in state.shared}
        return replace(state, round=state.round + 1, shared=shared)


class PlainMeans:
    """The running mean of a round's replies."""

    def __init__(self) -> None:
        self._mean = WeightedMean()

    def add(self, reply: Reply, weight: float) -> None:
        """Add a reply; raises ReplyError where it cannot be summed."""
        self._mean.add(reply.site, reply.tensors, weight)

    def mean(self) -> dict[str, Tensor]:
        """The mean; raises ReplyError where the weights sum to nothing."""
        return self._mean.mean()


class SiteMeanAggregation:
    """One round's mean by weights of which each depends on one reply alone."""

    def __init__(self, state: State, settings: SiteMean) -> None:
        self._state, self._settings, self._sums = state, settings, settings.sums(state)

    def add(self, reply: Reply, /) -> None:
        """Add the reply by its weight; raises ReplyError where it cannot be summed."""
        weight = self._settings.weights(self._state, [reply])[reply.site]
        self._sums.add(reply, weight)

    def finish(self) -> State:
        """The state after the round; raises ReplyError where the weights sum to nothing."""
        mean = self._sums.mean()
        shared = {name: mean[name] for name in self._state.shared}
        return replace(self._state, round=self._state.round + 1, shared=shared)
