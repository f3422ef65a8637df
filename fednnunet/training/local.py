"""What a federated method may change in a site's training: one frozen value of small parts.

    Local(changes=..., terms=..., detours=..., corrections=..., turns=...)

is the site's half of a method. Each part is a value too (importable, so that it can be sent to the
processes of several GPUs), and `+` joins two such halves. What is received in a round comes in a
`Given`; what a site must remember from round to round lies in `TrainingState.memory`, which is
saved with the network and never sent. In an iteration:

    changes of the patches  ->  gradient of (loss + sum of terms), taken where the detours say
    ->  corrections  ->  clipping  ->  the optimiser's step on the parameters whose turn it is
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fednnunet.errors import InputError
from fednnunet.training.batches import Batch
from fednnunet.training.state import TrainingState
from fednnunet.training.targets import Targets

Tensors = Mapping[str, Tensor]
Measured = tuple[Tensor, Tensor]
"""Loss (scalar) and Dice counts (3, targets) of a batch, on the device."""

Gradient = Callable[[Batch], Measured]
"""Puts the gradient over a batch, at the parameters as they are now, in place of every `.grad`.

The batch may be another one than the iteration's, or a part of it; the gradient is always that of
a mean over its samples. Over several GPUs every process counts as it does in the iteration's batch.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a site holds at the beginning of a round.

    `start` is every tensor of its network then, the received ones among them; `shared` are the
    names of those. `aside` is what came beside the weights (see `Method.asides`).
    """

    start: Tensors = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    aside: Tensors = field(default_factory=dict)

    @property
    def received(self) -> dict[str, Tensor]:
        """The shared tensors as they came."""
        return {name: tensor for name, tensor in self.start.items() if name in self.shared}

    def on(self, device: torch.device) -> Given:
        """The same on a device."""
        start = {name: tensor.to(device) for name, tensor in self.start.items()}
        aside = {name: tensor.to(device) for name, tensor in self.aside.items()}
        return Given(start=start, shared=self.shared, aside=aside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward pass of samples through the network, as a term of the loss sees it.

    `image` (b, c, z, y, x), `labels` (b, z, y, x) integers with -1 outside, `logits`
    (b, k, z, y, x) of the finest resolution, `features` (b, f, z, y, x) that its head reads (if
    `Local.features`); in 2D without z. `targets` say what this site's labels teach.
    """

    network: nn.Module
    image: Tensor
    labels: Tensor
    logits: Tensor
    features: Tensor | None
    targets: Targets
    given: Given


Step = Callable[..., dict[str, Any]]
"""A step of augmentation: takes and gives `image` (c, *patch) and `segmentation`, by name.

It draws from the global generators, which the augmenter sets for each patch.
"""


class Change(Protocol):
    """A step of augmentation that depends on what the round has given."""

    def __call__(self, memory: Tensors, given: Given, /) -> Step | None:
        """The step for a round, or None where there is nothing to change; `memory` is read only."""
        ...


class Term(Protocol):
    """A part of the loss."""

    def __call__(self, seen: Pass, /) -> Tensor:
        """A scalar to add to the loss: a mean over the pass's samples, or independent of them."""
        ...


class Detour(Protocol):
    """Where, and on what, an iteration's gradient is taken."""

    def __call__(
        self, state: TrainingState, batch: Batch, gradient: Gradient, given: Given, /
    ) -> Measured:
        """Call `gradient` as often as needed; the last call's gradient is the iteration's.

        The network must leave as it came, also where `gradient` raises (see `moves.moved`).
        """
        ...


class Correction(Protocol):
    """A change of the gradient before it is clipped."""

    def __call__(self, state: TrainingState, given: Given, /) -> None:
        """Change the parameters' `.grad` in place; frozen and unused parameters have none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """For `share` of a round's iterations only the parameters that `trains` names are trained."""

    trains: Callable[[str], bool]
    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"a turn's share is {self.share}", mend="choose above 0, at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A site's half of a method: nothing by default, which is plain training.

    `changes` are made to the patches once they are turned, before their intensities are varied.
    `terms` are added to the loss, `detours` say where the gradient is taken (the first is the
    outermost), `corrections` change it in order, and `turns` divide a round's iterations among
    parts of the network. `features` asks for `Pass.features`.
    """

    changes: tuple[Change, ...] = ()
    terms: tuple[Term, ...] = ()
    detours: tuple[Detour, ...] = ()
    corrections: tuple[Correction, ...] = ()
    turns: tuple[Turn, ...] = ()
    features: bool = False

    def __post_init__(self) -> None:
        total = sum(turn.share for turn in self.turns)
        if self.turns and abs(total - 1) > 1e-6:
            raise InputError(f"the turns' shares sum to {total}", mend="let them sum to 1")

    def __add__(self, other: Local) -> Local:
        """Both; raises InputError where both divide the iterations."""
        if self.turns and other.turns:
            raise InputError("both rules divide a round's iterations", mend="choose one of them")
        return Local(
            changes=self.changes + other.changes,
            terms=self.terms + other.terms,
            detours=self.detours + other.detours,
            corrections=self.corrections + other.corrections,
            turns=self.turns + other.turns,
            features=self.features or other.features,
        )


def lay_out(
    turns: Sequence[Turn], iterations: int, names: Sequence[str]
) -> tuple[tuple[int, frozenset[str]], ...]:
    """Numbers of iterations that sum to `iterations`, each with the `names` not trained in it."""
    if not turns:
        return ((iterations, frozenset()),)
    found, done, share = [], 0, 0.0
    for turn in turns:
        share += turn.share
        end = round(share * iterations)
        found.append((end - done, frozenset(name for name in names if not turn.trains(name))))
        done = end
    return tuple(found)
