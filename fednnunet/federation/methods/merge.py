"""The coordinator's half of a method: replies are added as they come, and give the next state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from typing import ClassVar, Literal, Protocol, cast

from fednnunet.federation.wire.figures import Figures
from fednnunet.network.tensors import Tensors

Needs = Literal["sum", "replies"]
"""What the coordinator must hold of a round: a sum over the replies, or all replies."""

VoxelCounts = tuple[tuple[int, int, int], ...]
"""True positives, false positives and false negatives of each of the task's targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One site's reply as a method sees it.

    `tensors` are the shared ones, `extras` the auxiliary tensors that the method's `extras`
    describe. `cases` are the site's training cases; with pseudo-labels those without any label
    count as `coordinator.counted_cases` says. `iterations` is the number of local iterations.
    `loss` is the mean loss of the round, None where the site does not state it, since it is over
    too few cases. `labelled` says whether any of the cases has a labelled voxel. `overlap` counts
    voxels (tp, fp, fn) of each target over the round's patches, `held_out` over patches of held-out
    cases, and `figures` are what a rule of weights asks for; all empty where they are not stated.
    """

    site: str
    tensors: Tensors
    cases: int
    loss: float | None
    extras: Tensors = field(default_factory=dict)
    iterations: int = 1
    labelled: bool = True
    overlap: VoxelCounts = ()
    held_out: VoxelCounts = ()
    figures: Figures = field(default_factory=Figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that the coordinator knows between rounds: one value, saved and resumed whole.

    `shared` is what the sites receive, and `extras` the auxiliary tensors that they receive with it
    (none in round 0). `memory` is the method's own (a server optimiser's moments). A site in
    `for_site` receives that instead of what is shared. `rounds` is the number of joint rounds in
    all, 0 where it is not known. `down` are the codes that sites are sent in the place of these
    weights, and what codes have lost so far (`coordinator.sent_weights`); no merge looks at it.
    """

    round: int
    shared: Tensors
    rounds: int = 0
    extras: Tensors = field(default_factory=dict)
    memory: Tensors = field(default_factory=dict)
    for_site: Mapping[str, Tensors] = field(default_factory=dict)
    down: Tensors = field(default_factory=dict)

    def received(self, site: str) -> Tensors:
        """The tensors of the network that a site receives."""
        return self.for_site.get(site, self.shared)


class Aggregation(Protocol):
    """One round's replies, added one by one in whatever order they come."""

    def add(self, reply: Reply, /) -> None:
        """Add a reply, which is not kept unless the merge needs replies.

        Raises ReplyError, with nothing added, where the reply cannot be used.
        """
        ...

    def finish(self) -> State:
        """The state after the round; the order of the replies changes no bit of it."""
        ...


class Merge(Protocol):
    """How replies are merged, and the laws that this keeps to."""

    @property
    def needs(self) -> Needs:
        """Whether memory stays the same for any number of sites ("sum") or not ("replies")."""
        ...

    @property
    def keeps_equal_sites(self) -> bool:
        """Whether shared tensors that all sites send alike are kept, bit for bit."""
        ...

    def start(self, state: State, /) -> Aggregation:
        """Begin the aggregation of a round that began from `state`."""
        ...

    def artefacts(self, state: State, /) -> Mapping[str, object]:
        """Records, by file name, of what the merge has found out about the sites; mostly none."""
        ...


def with_mean(merge: Merge, replaced: Callable[[Merge], Merge | None]) -> Merge | None:
    """The merge with another mean in it, at whatever depth; None where it has none to replace.

    `replaced(merge)` is what stands in the place of a merge that is such a mean, None for others,
    which are looked into by their field `mean`.
    """
    found = replaced(merge)
    inner = getattr(merge, "mean", None)
    if found is not None or inner is None or not is_dataclass(merge):
        return found
    changed = with_mean(inner, replaced)
    return None if changed is None else cast(Merge, replace(merge, mean=changed))


@dataclass(frozen=True, slots=True)
class Streamed:
    """A merge that adds replies as they come, from what begins its aggregation of a round."""

    needs: ClassVar[Needs] = "sum"

    begin: Callable[[State], Aggregation]
    keeps_equal_sites: bool = False

    def start(self, state: State, /) -> Aggregation:
        """Begin the aggregation of a round."""
        return self.begin(state)

    def artefacts(self, state: State, /) -> Mapping[str, object]:
        """None."""
        return {}


class Collected:
    """An aggregation that needs all replies: `merge(state, replies)`, sorted by site."""

    def __init__(self, state: State, merge: Callable[[State, Sequence[Reply]], State]) -> None:
        self._state, self._merge = state, merge
        self._replies: list[Reply] = []

    def add(self, reply: Reply, /) -> None:
        """Keep the reply."""
        self._replies.append(reply)

    def finish(self) -> State:
        """What `merge` makes of the replies."""
        return self._merge(self._state, sorted(self._replies, key=lambda reply: reply.site))


class Followed:
    """An aggregation after which a function changes the state."""

    def __init__(self, first: Aggregation, then: Callable[[State], State]) -> None:
        self._first, self._then = first, then

    def add(self, reply: Reply, /) -> None:
        """Add the reply to the first aggregation."""
        self._first.add(reply)

    def finish(self) -> State:
        """What the function makes of the first aggregation's state."""
        return self._then(self._first.finish())
