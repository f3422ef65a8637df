"""Cases without labels: no supervised term.

    L = 0, with gradient 0

They take part in a batch for what else reads them: pseudo-labels, or a federated method's terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fednnunet.labels.levels import levels_of
from fednnunet.planning.plan import Configuration
from fednnunet.supervision import Supervision
from fednnunet.task import Task
from fednnunet.training.recipe import Recipe
from fednnunet.training.targets import Targets, make_targets


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroLoss:
    """Zero, whatever the logits are: also where they are not finite."""

    targets: Targets
    level_weights: tuple[float, ...]

    def __call__(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        """A scalar 0 (float32) whose gradient at the logits that a loss sees is 0.

        It is a sum over no sample: 0 times a sum would be NaN where a float16 logit overflowed.
        """
        levels = zip(self.level_weights, logits, strict=False)
        return torch.stack([x[:0].float().sum() for weight, x in levels if weight]).sum()


def make_zero_loss(
    task: Task, supervision: Supervision, configuration: Configuration, recipe: Recipe
) -> ZeroLoss:
    """The loss of cases without labels."""
    return ZeroLoss(
        targets=make_targets(task, supervision), level_weights=levels_of(configuration, recipe)
    )
