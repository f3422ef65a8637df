"""What a federated method may change in a site's training: one frozen value of small parts.

    LocalRule(augmentations=..., terms=..., gradient_rules=..., corrections=..., phases=...)

is the site's half of a method. Each part is a value too (importable, so that it can be sent to the
processes of several GPUs), and `+` joins two rules. What a site receives in a round is in a
`RoundContext`; what it must remember from round to round is in `TrainingState.memory`, which is
saved with the network and never sent. In an iteration:

    augmentations of the patches  ->  gradient of (loss + sum of terms), computed by the gradient
    rules  ->  corrections  ->  clipping  ->  the optimiser's step on the parameters of this phase
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from fednnunet.errors import InputError
from fednnunet.network.tensors import Tensors
from fednnunet.training.augment import Step
from fednnunet.training.batches import Batch
from fednnunet.training.state import TrainingState
from fednnunet.training.targets import Targets

Measured = tuple[Tensor, Tensor]
"""Loss (scalar) and Dice counts (3, targets) of a batch, on the device."""

Gradient = Callable[[Batch], Measured]
"""Computes the gradient over a batch at the present parameters and replaces every `.grad` by it.

The batch may be another one than the iteration's, or a part of it; the gradient is always that of
a mean over its samples. Over several GPUs every process has the weight that it has in the
iteration's batch.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundContext:
    """What a site holds at the beginning of a round.

    `start` has every tensor of its network at that time; `shared` are the names of those that were
    received. `extras` are the auxiliary tensors that were received too (see `Method.extras`).
    """

    start: Tensors = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    extras: Tensors = field(default_factory=dict)

    @property
    def received(self) -> dict[str, Tensor]:
        """The shared tensors as they were received."""
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
    `LocalRule.features`), `weak` the image without changes of intensity, where a completion asks
    for it; in 2D without z. `targets` say what the labels of these samples teach; samples whose
    labels teach something else come in a forward pass of their own.
    """

    network: nn.Module
    image: Tensor
    labels: Tensor
    logits: Tensor
    features: Tensor | None
    targets: Targets
    context: RoundContext
    weak: Tensor | None = None


class RoundAugmentation(Protocol):
    """A step of augmentation that depends on what the site has received in the round."""

    def __call__(self, memory: Tensors, context: RoundContext, /) -> Step | None:
        """The step for a round, or None where there is nothing to change; `memory` is read only."""
        ...


class Term(Protocol):
    """A part of the loss."""

    def __call__(self, forward: ForwardPass, /) -> Tensor:
        """A scalar to add to the loss: a mean over the samples, or independent of them."""
        ...


class GradientRule(Protocol):
    """At which parameters, and on which samples, an iteration's gradient is computed."""

    def __call__(
        self, state: TrainingState, batch: Batch, gradient: Gradient, context: RoundContext, /
    ) -> Measured:
        """Call `gradient` as often as needed; the last call's gradient is the iteration's.

        The network's tensors must be the same afterwards, also where `gradient` raises (see
        `perturbation.perturbed`).
        """
        ...


class Correction(Protocol):
    """A change of the gradient before it is clipped."""

    def __call__(self, state: TrainingState, context: RoundContext, /) -> None:
        """Change the parameters' `.grad` in place; frozen and unused parameters have none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPhase:
    """For a `fraction` of a round's iterations only some of the parameters are trained.

    `is_trained(name)` says which; it is called for every parameter of the network.
    """

    is_trained: Callable[[str], bool]
    fraction: float

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise InputError(
                f"a training phase has the fraction {self.fraction}",
                mend="choose above 0, at most 1",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRule:
    """A site's half of a method: nothing by default, which is plain training.

    `augmentations` are applied after the spatial augmentations and before those of intensity.
    `terms` are added to the loss, `gradient_rules` compute the gradient (the first is the
    outermost), `corrections` change it in order, and `phases` divide a round's iterations among
    parts of the network. `features` asks for `ForwardPass.features`.
    """

    augmentations: tuple[RoundAugmentation, ...] = ()
    terms: tuple[Term, ...] = ()
    gradient_rules: tuple[GradientRule, ...] = ()
    corrections: tuple[Correction, ...] = ()
    phases: tuple[TrainingPhase, ...] = ()
    features: bool = False

    def __post_init__(self) -> None:
        total = sum(phase.fraction for phase in self.phases)
        if self.phases and abs(total - 1) > 1e-6:
            raise InputError(
                f"the fractions of the training phases sum to {total}", mend="let them sum to 1"
            )

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
    """Each phase's number of iterations, which sum to `iterations`, and the `names` it freezes."""
    if not phases:
        return ((iterations, frozenset()),)
    found, done, fraction = [], 0, 0.0
    for phase in phases:
        fraction += phase.fraction
        end = round(fraction * iterations)
        found.append((end - done, frozenset(name for name in names if not phase.is_trained(name))))
        done = end
    return tuple(found)
