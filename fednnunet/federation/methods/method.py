"""What a federated method is: both of its halves in one value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor

from fednnunet.federation.wire.phases import Phase
from fednnunet.federation.wire.tensors import weighted_mean
from fednnunet.network.tensors import Tensors
from fednnunet.task import Task
from fednnunet.training.batches import Batch
from fednnunet.training.device import Execution
from fednnunet.training.local_rule import LocalRule, RoundContext
from fednnunet.training.state import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One site's reply as a method sees it: its shared tensors and its number of cases.

    `extras` are the auxiliary tensors that the method's `extras` describe.
    """

    site: str
    tensors: Tensors
    cases: int
    loss: float
    extras: Tensors = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that the coordinator knows between rounds: one value, saved and resumed whole.

    `shared` is what the sites receive, and `extras` the auxiliary tensors that they receive with it
    (none in round 0). `memory` is the method's own (a server optimiser's moments). A site in
    `for_site` receives that instead of what is shared. `rounds` is the number of joint rounds in
    all, 0 where it is not known.
    """

    round: int
    shared: Tensors
    rounds: int = 0
    extras: Tensors = field(default_factory=dict)
    memory: Tensors = field(default_factory=dict)
    for_site: Mapping[str, Tensors] = field(default_factory=dict)

    def received(self, site: str) -> Tensors:
        """The tensors of the network that a site receives."""
        return self.for_site.get(site, self.shared)


class Merge(Protocol):
    """The coordinator's half: a new state from the replies, whatever their order."""

    def __call__(self, state: State, replies: Sequence[Reply], /) -> State:
        """The state after the round."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSite:
    """A site at the end of a round of the joint phase: what extras are made of.

    `state` holds the network after local training, and the site's memory, which may be changed.
    `each_case(n)` gives n patches of every training case without augmentation, the same ones in
    every round: a batch a case, in the order of the names. Extras that describe the site's cases
    need `min_cases` of them.
    """

    state: TrainingState
    context: RoundContext
    each_case: Callable[[int], Iterator[Batch]]
    cases: int
    min_cases: int
    task: Task
    execution: Execution


class Extra(Protocol):
    """Auxiliary tensors exchanged with the network's: control variates, prototypes, spectra.

    Its names are its own (`control/...`). The method's `merge` sees them in `Reply.extras`.
    """

    @property
    def words(self) -> str:
        """What leaves the site, for its ledger: one line."""
        ...

    def like(self, tensors: Tensors, shared: Collection[str], /) -> Tensors:
        """Tensors of the names, shapes and kinds that every reply has; their values do not count.

        `tensors` are all of the network's, `shared` the names of those that leave a site.
        """
        ...

    def reply(self, site: TrainedSite, /) -> Tensors:
        """What the site sends: sums and means over it as a whole, never of one case."""
        ...


class PersonalModel(Protocol):
    """A personal model that is not just the site's network with the shared tensors in it."""

    def update(self, site: TrainedSite, /) -> None:
        """At the end of a joint round: change the site's memory, if need be."""
        ...

    def model(self, tensors: Tensors, memory: Tensors, /) -> Tensors:
        """All tensors of the personal model, from the network's and from the site's memory."""
        ...


Weights = Callable[[Sequence[Reply]], Mapping[str, float]]
"""A weight, not yet normalised, for the name of each site that replied."""


def by_cases(replies: Sequence[Reply]) -> dict[str, float]:
    """FedAvg's weights: each site counts by its training cases."""
    return {reply.site: float(reply.cases) for reply in replies}


def uniform(replies: Sequence[Reply]) -> dict[str, float]:
    """Every site counts the same, whatever its number of cases."""
    return {reply.site: 1.0 for reply in replies}


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
        return replace(state, round=state.round + 1, shared=merged)


mean_by_cases = MeanBy(by_cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to train together.

    `is_shared(tensor_name)` says which tensors are shared; all others stay on the site's disk.
    `local_rule` is what changes in the sites' training, `extras` are the auxiliary tensors that
    they exchange, and `merge` makes the next state. `personal_model` builds the sites' personal
    models where these are not just the network. With `mean_needs_training` the sites' shared
    tensors differ at the end, so that their mean must be trained before it serves as a model.
    """

    is_shared: Callable[[str], bool]
    local_rule: LocalRule = field(default_factory=LocalRule)
    extras: tuple[Extra, ...] = ()
    personal_model: PersonalModel | None = None
    merge: Merge = mean_by_cases
    mean_needs_training: bool = False

    def shared(self, tensors: Tensors) -> dict[str, Tensor]:
        """The part of `tensors` that leaves a site."""
        return {name: tensor for name, tensor in tensors.items() if self.is_shared(name)}

    def private(self, tensors: Tensors) -> dict[str, Tensor]:
        """The part of `tensors` that stays."""
        return {name: tensor for name, tensor in tensors.items() if not self.is_shared(name)}

    def outgoing(self, tensors: Tensors, phase: Phase) -> dict[str, Tensor]:
        """The part of a network's tensors that sites train together in `phase` and send back."""
        match phase:
            case "joint":
                return self.shared(tensors)
            case "personal":
                return {}
            case "public":
                return dict(tensors) if self.mean_needs_training else self.private(tensors)

    def artefacts(self, state: State) -> Mapping[str, object]:
        """Records, by file name, that describe what the merge found out about the sites."""
        return getattr(self.merge, "artefacts", lambda state: {})(state)

    def extras_like(self, tensors: Tensors) -> dict[str, Tensor]:
        """The auxiliary tensors of a reply, from all of a network's tensors."""
        shared = self.shared(tensors).keys()
        parts = [extras.like(tensors, shared) for extras in self.extras]
        return {name: tensor for part in parts for name, tensor in part.items()}

    @property
    def extras_words(self) -> str:
        """What auxiliary tensors leave a site, for its ledger; empty if none do."""
        return "; ".join(extras.words for extras in self.extras)

    def make_extras(self, site: TrainedSite) -> dict[str, Tensor]:
        """The auxiliary tensors that a site sends."""
        parts = [extras.reply(site) for extras in self.extras]
        return {name: tensor for part in parts for name, tensor in part.items()}
