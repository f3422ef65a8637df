"""What completes the labels of a batch where a class is unknown: the seam for pseudo-labels.

A `LocalJob.completion` is asked at five times. The source of batches asks which samples need a
second view; at the beginning of a job it may look at the network as it was received; before every
iteration it completes the batch; after the optimiser's step it may follow the network; and at the
end it may drop what it has kept in the state's memory. The loss that it makes is added to the
supervised one. Without a completion nothing of this happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from fednnunet.planning.plan import Configuration
from fednnunet.task import Task
from fednnunet.training.batches import Batch, SecondView
from fednnunet.training.device import Execution
from fednnunet.training.local_rule import LocalRule
from fednnunet.training.recipe import Recipe
from fednnunet.training.state import TrainingState

CompletedLoss = Callable[[Sequence[Tensor], Batch], Tensor]
"""Scalar loss of logits, finest first, on the completed part of a batch; it has no gradient where
the batch holds no pseudo-label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where in the training an iteration stands, and how it is computed.

    `done` is the share, from 0 to 1, of the federation's iterations before it. `at_once` samples go
    through the network together.
    """

    done: float
    at_once: int
    execution: Execution


class Completion(Protocol):
    """Completes labels during local training."""

    @property
    def second_view(self) -> SecondView:
        """Of which samples a weakly augmented view is wanted, and what the other view gets."""
        ...

    @property
    def local_rule(self) -> LocalRule:
        """What it changes in training besides labels; joined behind the method's rule."""
        ...

    def make_loss(
        self, task: Task, configuration: Configuration, recipe: Recipe, /
    ) -> CompletedLoss:
        """The loss on what it completes."""
        ...

    def begin(self, state: TrainingState, /) -> None:
        """At the beginning of a job: the network is as the site received it."""
        ...

    def complete(self, state: TrainingState, batch: Batch, moment: Moment, /) -> Batch:
        """The batch of an iteration with `pseudo`; the labels stay as they are."""
        ...

    def follow(self, state: TrainingState, /) -> None:
        """After the optimiser's step."""
        ...

    def end(self, state: TrainingState, /) -> None:
        """At the end of a job, before the state is saved."""
        ...
