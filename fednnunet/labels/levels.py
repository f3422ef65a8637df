"""What the losses of weak labels share: resolutions, groups of outputs, means over samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fednnunet.planning.plan import Configuration
from fednnunet.training.losses import level_weights, merged
from fednnunet.training.recipe import Recipe

NOWHERE = -1e9
"""Stands for the logarithm of 0 where a maximum is taken: far below any log-probability."""


def levels_of(configuration: Configuration, recipe: Recipe) -> tuple[float, ...]:
    """The weight of each resolution's loss, finest first."""
    levels = len(configuration.architecture.stages) - 1
    return level_weights(levels, deep_supervision=recipe.deep_supervision)


def log_softmax(logits: Tensor, outputs: Sequence[Sequence[int]]) -> Tensor:
    """Log-probabilities (b, g, z, y, x; float32) of groups of a softmax's outputs."""
    return merged(F.log_softmax(logits.float(), 1), outputs)


def chosen_logits(logits: Tensor, outputs: Sequence[Sequence[int]]) -> Tensor:
    """Logits (b, g, z, y, x; float32) of the regions' outputs, one a group."""
    return torch.stack([logits[:, output] for (output,) in outputs], 1).float()


def mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean over samples of each sample's mean of `values` (b, n) over `chosen`; 0 where none is.

    So a batch's mean is that of its samples, however the batch is divided.
    """
    total = torch.where(chosen, values, 0.0).sum(1)
    return (total / chosen.sum(1).clamp_min(1)).mean()
