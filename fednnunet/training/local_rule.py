"""What a federated method may change in a site's training: one frozen value of small parts.

    Local(augmentations=..., terms=..., detours=..., corrections=..., turns=...)

is the site's half of a method. Each part is a value too (importable, so that it can be sent to the
processes of several GPUs), and `+` joins two such halves. What is received in a round comes in a
`Given`; what a site must remember from round to round lies in `TrainingState.memory`, which is
saved with the network and never sent. In an iteration:

    augmentations of the patches  ->  gradient of (loss + sum of terms), taken where the detours say
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
class RoundContext:
    """What a site holds at the beginning of a round.

    `start` is every tensor of its network then, the received ones among them; `shared` are the
    names of those. `aside` is what came beside the weights (see `Method.asides`).
    """

    start: Tensors = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    extras: Tensors = field(default_factory=dict)

    @property
    def received(self) -> dict[str, Tensor]:
        """The shared tensors as they came."""
        return {name: tensor for name, tensor in self.start.items() if name in self.shared}

    def on(self, device: torch.device) -> RoundContext:
        """The same on a device."""
        start = {name: tensor.to(device) for name, tensor in self.start.items()}
        extras = {name: tensor.to(device) for name, tensor in self.extras.items()}
        return RoundContext(start=start, shared=self.shared, extras=extras)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPass:
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
    context: RoundContext


Step = Callable[..., dict[str, Any]]
"""A step of augmentation: takes and gives `image` (c, *patch) and `segmentation`, by name.

It draws from the global generators, which the augmenter sets for each patch.
"""


class RoundAugmentation(Protocol):
    """A step of augmentation that depends on what the round has given."""

    def __call__(self, memory: Tensors, context: RoundContext, /) -> Step | None:
        """The step for a round, or None where there is nothing to change; `memory` is read only."""
        ...


class Term(Protocol):
    """A part of the loss."""

    def __call__(self, seen: ForwardPass, /) -> Tensor:
        """A scalar to add to the loss: a mean over the pass's samples, or independent of them."""
        ...


class GradientRule(Protocol):
    """Where, and on what, an iteration's gradient is taken."""

    def __call__(
        self, state: TrainingState, batch: Batch, gradient: Gradient, context: RoundContext, /
    ) -> Measured:
        """Call `gradient` as often as needed; the last call's gradient is the iteration's.

        The network must leave as it came, also where `gradient` raises (see `moves.moved`).
        """
        ...


class Correction(Protocol):
    """A augmentation of the gradient before it is clipped."""

    def __call__(self, state: TrainingState, context: RoundContext, /) -> None:
        """Change the parameters' `.grad` in place; frozen and unused parameters have none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPhase:
    """For `share` of a round's iterations only the parameters that `trains` names are trained."""

    trains: Callable[[str], bool]
    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"a turn's share is {self.share}", mend="choose above 0, at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRule:
    """A site's half of a method: nothing by default, which is plain training.

    `augmentations` are applied after the spatial augmentations and before those of intensity.
    `terms` are added to the loss, `gradient_rules` say where the gradient is taken (the first is
    the outermost), `corrections` change it in order, and `phases` divide a round's iterations among
    parts of the network. `features` asks for `ForwardPass.features`.
    """

    augmentations: tuple[RoundAugmentation, ...] = ()
    terms: tuple[Term, ...] = ()
    gradient_rules: tuple[GradientRule, ...] = ()
    corrections: tuple[Correction, ...] = ()
    phases: tuple[TrainingPhase, ...] = ()
    features: bool = False

    def __post_init__(self) -> None:
        total = sum(phase.share for phase in self.phases)
        if self.phases and abs(total - 1) > 1e-6:
            raise InputError(f"the turns' shares sum to {total}", mend="let them sum to 1")

    def __add__(self, other: LocalRule) -> LocalRule:
        """Both; raises InputError where both divide the iterations."""
        if self.phases and other.phases:
            raise InputError("both rules divide a round's iterations", mend="choose one of them")
        return LocalRule(
            augmentations=self.augmentations + other.augmentations,
            terms=self.terms + other.terms,
            gradient_rules=self.gradient_rules + other.gradient_rules,
            corrections=self.corrections + other.corrections,
            phases=self.phases + other.phases,
            features=self.features or other.features,
        )


def phase_lengths(
    phases: Sequence[TrainingPhase], iterations: int, names: Sequence[str]
) -> tuple[tuple[int, frozenset[str]], ...]:
    """Numbers of iterations that sum to `iterations`, each with the `names` not trained in it."""
    if not phases:
        return ((iterations, frozenset()),)
    found, done, share = [], 0, 0.0
    for phase in phases:
        share += phase.share
        end = round(share * iterations)
        found.append((end - done, frozenset(name for name in names if not phase.trains(name))))
        done = end
    return tuple(found)
