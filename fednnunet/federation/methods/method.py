"""What a federated method is: both of its halves in one value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Merge, Tensors
from fednnunet.federation.wire.phases import Phase
from fednnunet.task import Task
from fednnunet.training.batches import Batch
from fednnunet.training.device import Execution
from fednnunet.training.local_rule import LocalRule, RoundContext
from fednnunet.training.state import TrainingState


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

    def received(self, like: Tensors, sites: Collection[str], /) -> Tensors:
        """Tensors of the names, shapes and kinds that an invite may bring to a site.

        `like` is what the method `like` has given, `sites` are the names of all sites. A name that
        it has for no sites at all comes with all others of the kind or with none of them; what
        depends on the sites comes from those that have replied.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to train together.

    `is_shared(tensor_name)` says which tensors are shared; all others stay on the site's disk.
    `local_rule` is what changes in the sites' training, `extras` are the auxiliary tensors that
    they exchange, and `merge` makes the next state. `personal_model` builds the sites' personal
    models where these are not just the network. With `mean_needs_training` the sites' shared
    tensors differ at the end, so that their mean must be trained before it serves as a model. With
    `scales_learning_rate` the sites' learning rate follows their number (see `step`).
    """

    is_shared: Callable[[str], bool]
    local_rule: LocalRule = field(default_factory=LocalRule)
    extras: tuple[Extra, ...] = ()
    personal_model: PersonalModel | None = None
    merge: Merge = mean_by_cases
    mean_needs_training: bool = False
    scales_learning_rate: bool = False

    def shared(self, tensors: Tensors) -> dict[str, Tensor]:
        """The part of `tensors` that leaves a site."""
        return {name: tensor for name, tensor in tensors.items() if self.is_shared(name)}

    def private(self, tensors: Tensors) -> dict[str, Tensor]:
        """The part of `tensors` that stays."""
        return {name: tensor for name, tensor in tensors.items() if not self.is_shared(name)}

    def outgoing(self, tensors: Tensors, phase: Phase) -> dict[str, Tensor]:
        """The part of a network's tensors that sites train together in `phase` and send back."""
        match phase:
            case "pretraining" | "joint":
                return self.shared(tensors)
            case "personal":
                return {}
            case "public":
                return dict(tensors) if self.mean_needs_training else self.private(tensors)

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
