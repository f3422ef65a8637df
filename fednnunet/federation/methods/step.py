"""What happens between two rounds, for every method whose coordinator takes a mean.

    [training.step]
    server = "fedexp"

An average of updates is a shorter step than the updates, and a site trains on from it with the
momentum of the step that it made itself. These settings change both; see docs/methods.md for what
each was seen to do. The settings that a method has of its own (the momentum of `fedavgm`) come on
top.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.extrapolation import Extrapolated
from fednnunet.federation.methods.mean import MeanBy
from fednnunet.federation.methods.merge import (
    Aggregation,
    Followed,
    Merge,
    Needs,
    Reply,
    State,
    Tensors,
    with_mean,
)
from fednnunet.federation.methods.robust import RobustMerge
from fednnunet.federation.methods.server_step import ServerStep
from fednnunet.federation.methods.similarity import BySimilarity
from fednnunet.federation.methods.site_mean import SiteMean
from fednnunet.ranges import Within, check_ranges

_MAX_FACTOR = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBetweenRounds:
    """How the coordinator steps along the mean update, and how sites go on from it."""

    server: Literal["mean", "fedexp", "nesterov"] = "mean"
    """"mean" (FedAvg), "fedexp" (a longer step where updates cancel), or "nesterov" (momentum over
    rounds, as DiLoCo)."""
    bound: Annotated[float, Within(1, 10)] = 2.0
    """The longest step of fedexp, as a multiple of the mean update."""
    learning_rate: Annotated[float, Within(0.01, 10)] = 0.7
    """Learning rate of nesterov."""
    momentum: Annotated[float, Within(0, 0.99)] = 0.5
    """Momentum of nesterov; the papers' 0.9 is for thousands of rounds."""
    alone_rounds: Annotated[int, Within(0, 100_000)] = 0
    """First joint rounds that every site trains alone, before the first merge."""
    moments: Literal["keep", "reset"] = "keep"
    """What a site does with the first moments of its optimiser when it receives merged weights:
    keeps them, or begins each round from zero."""
    site_learning_rate: Annotated[float, Within(0, 10)] = 0.0
    """Factor on the recipe's learning rate in joint rounds. 0 leaves it to the method: fedease with
    AdamW takes the square root of the number of sites that train, at most 2, with which a mean of
    unrelated updates is as long as the update of one site; all others take 1."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.step]")

    def learning_rate_factor(self, sites: int, *, scaled: bool) -> float:
        """The factor on the learning rate of `sites` that train together.

        `scaled` says whether the method's rate follows their number where no factor is given.
        """
        usual = min(math.sqrt(max(sites, 1)), _MAX_FACTOR) if scaled else 1.0
        return self.site_learning_rate or usual


@dataclass(frozen=True, slots=True, kw_only=True)
class NesterovMomentum:
    """Nesterov's momentum on mean updates for one tensor; `velocity` is its only moment.

    Douillard et al., "DiLoCo: Distributed Low-Communication Training of Language Models", 2023.
    With D the update that the mean would make and x the shared tensor,

        v = momentum * v + D,    x = x + learning_rate * (momentum * v + D).
    """

    moments: ClassVar[tuple[str, ...]] = ("velocity",)

    learning_rate: float
    momentum: float

    def __call__(
        self, update: Tensor, moments: Mapping[str, Tensor], step: int, /
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What to add to the tensor, and its new velocity."""
        velocity = self.momentum * moments["velocity"] + update
        return self.learning_rate * (self.momentum * velocity + update), {"velocity": velocity}


@dataclass(frozen=True, slots=True)
class AfterAlone:
    """A merge that returns every site its own reply in the first `rounds` rounds."""

    keeps_equal_sites: ClassVar[bool] = False

    mean: Merge
    rounds: int

    @property
    def needs(self) -> Needs:
        """All replies, to return them."""
        return "replies"

    def start(self, state: State, /) -> Aggregation:
        """Begin a round."""
        inner = self.mean.start(state)
        if state.round < self.rounds:
            return AloneAggregation(inner)
        first = state.round == self.rounds
        return Followed(inner, partial(_without_own, state)) if first else inner

    def artefacts(self, state: State, /) -> Mapping[str, object]:
        """Those of the mean."""
        return self.mean.artefacts(state)


class AloneAggregation:
    """The mean of a round, which no site receives yet."""

    def __init__(self, mean: Aggregation) -> None:
        self._mean, self._replies = mean, dict[str, Tensors]()

    def add(self, reply: Reply, /) -> None:
        """Add the reply to the mean, and keep it."""
        self._mean.add(reply)
        self._replies[reply.site] = reply.tensors

    def finish(self) -> State:
        """The state after the round, in which each site that replied receives what it sent."""
        mean = self._mean.finish()
        return replace(mean, for_site={**mean.for_site, **dict(sorted(self._replies.items()))})


def _without_own(before: State, after: State) -> State:
    """The state after the first merge, in which nobody receives what it sent alone any more."""
    new = {s: t for s, t in after.for_site.items() if t is not before.for_site.get(s)}
    return replace(after, for_site=new)


def stepped_merge(merge: Merge, step: StepBetweenRounds, *, method: str) -> Merge:
    """The merge with the server's step wherever it takes a mean, and the first rounds alone.

    Raises InputError, which names the method, where it takes no mean of all replies.
    """
    stepped = with_mean(merge, partial(_stepped, step)) if step.server != "mean" else merge
    if stepped is None:
        raise InputError(
            f"method {method} takes no mean of the replies, so the server's step cannot change",
            where="training.step.server",
            mend='choose a method such as fedavg, fedbn_head or fedease, or set server = "mean"',
        )
    return AfterAlone(stepped, step.alone_rounds) if step.alone_rounds else stepped


def _stepped(step: StepBetweenRounds, merge: Merge) -> Merge | None:
    """The server's step along a mean; None for what is no mean of all replies."""
    if isinstance(merge, BySimilarity):
        return replace(merge, for_all=_stepped(step, merge.common))
    if not isinstance(merge, MeanBy | RobustMerge | SiteMean):
        return None
    if step.server == "fedexp":
        return Extrapolated(merge, step.bound)
    return ServerStep(
        NesterovMomentum(learning_rate=step.learning_rate, momentum=step.momentum), merge
    )
