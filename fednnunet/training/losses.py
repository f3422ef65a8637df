"""Dice and cross-entropy by nnU-Net's rules, with ignored voxels, regions and partial labels.

Logits are (b, k, z, y, x), labels integers (b, z, y, x) with -1 outside; in 2D without z.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.planning.plan import Configuration
from fednnunet.supervision import Supervision
from fednnunet.task import Task
from fednnunet.training.balanced_entropy import sigmoid_entropy, softmax_entropy
from fednnunet.training.imbalance import GroupBalance
from fednnunet.training.recipe import Recipe
from fednnunet.training.targets import Targets, make_targets

_SMOOTH = 1e-5


class SupervisedLoss(Protocol):
    """What the labels of one kind teach. `Loss` is that of label maps; others are in `labels`."""

    @property
    def targets(self) -> Targets:
        """Which voxels' classes the labels say: for methods that read labels, and for counts."""

    @property
    def level_weights(self) -> tuple[float, ...]:
        """Weight of each resolution, finest first; logits of further ones are not read."""

    def __call__(self, logits: Sequence[Tensor], labels: Tensor, /) -> Tensor:
        """A finite scalar, at least minus the recipe's weight of Dice.

        `logits` (b, k, z, y, x) per resolution, finest first, and `labels` int16 (b, z, y, x) as
        `supervision` has them for the kind; in 2D without z.
        """
        ...


LossMaker = Callable[[Task, Supervision, Configuration, Recipe], SupervisedLoss]
"""The loss of cases with a supervision, by a plan's configuration and a recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Soft Dice plus cross-entropy of every resolution, weighted.

    `targets` say what the labels teach. With `batch_dice` overlaps are summed over the batch
    before the ratio. `level_weights` has one weight per resolution, finest first; resolutions
    without a weight, or with weight 0, are left out. `balance` changes the cross-entropy for rare
    classes.
    """

    targets: Targets
    batch_dice: bool
    level_weights: tuple[float, ...]
    dice_weight: float = 1.0
    cross_entropy_weight: float = 1.0
    balance: GroupBalance = field(default_factory=GroupBalance)

    def __call__(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Scalar loss of logits, finest first."""
        levels = zip(self.level_weights, logits, strict=False)
        terms = [w * self.level(x, shrink(labels, x.shape[2:])) for w, x in levels if w]
        return torch.stack(terms).sum()

    def level(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss at one resolution."""
        logits = logits.float()
        valid = self.targets.valid(labels)
        if self.targets.regions:
            return self._regions(logits, labels, valid)
        log_p = merged(F.log_softmax(logits, 1), self.targets.outputs)
        classes = self.targets.classes(labels)
        if self.balance:
            outputs = self.targets.outputs
            voxels = softmax_entropy(logits, classes, outputs, valid, self.balance)
        else:
            voxels = F.nll_loss(log_p, classes, reduction="none")
        entropy = _mean(voxels, valid)
        truth = torch.stack([classes == i for i in range(1, log_p.shape[1])], 1)
        return self._sum(entropy, log_p[:, 1:].exp(), truth, valid)

    def _regions(self, logits: Tensor, labels: Tensor, valid: Tensor | None) -> Tensor:
        logits = torch.stack([logits[:, output] for (output,) in self.targets.outputs], 1)
        truth = self.targets.indicators(labels)
        there = truth.to(logits.dtype)
        if self.balance:
            voxels = sigmoid_entropy(logits, truth, valid, self.balance)
        else:
            voxels = F.binary_cross_entropy_with_logits(logits, there, reduction="none")
        entropy = _mean(voxels.mean(1), valid)
        return self._sum(entropy, logits.sigmoid(), truth, valid)

    def _sum(self, entropy: Tensor, p: Tensor, truth: Tensor, valid: Tensor | None) -> Tensor:
        dice = soft_dice(p, truth, valid, batch_dice=self.batch_dice)
        return self.cross_entropy_weight * entropy - self.dice_weight * dice


def make_loss(
    task: Task, supervision: Supervision, configuration: Configuration, recipe: Recipe
) -> Loss:
    """The loss of label maps with that supervision, by a plan's configuration and a recipe.

    Raises InputError where there is no label map.
    """
    if not supervision.has_map:
        raise InputError(
            f"labels of kind {supervision.kind!r} are no label map",
            mend="choose the loss by kind: labels.loss.make_loss",
        )
    levels = len(configuration.architecture.stages) - 1
    targets = make_targets(task, supervision)
    return Loss(
        targets=targets,
        batch_dice=configuration.batch_dice,
        level_weights=level_weights(levels, deep_supervision=recipe.deep_supervision),
        dice_weight=recipe.dice_weight,
        cross_entropy_weight=recipe.cross_entropy_weight,
        balance=recipe.balance.of_groups(targets.groups),
    )


def soft_dice(p: Tensor, truth: Tensor, valid: Tensor | None, *, batch_dice: bool) -> Tensor:
    """Mean soft Dice (1 is best) of probabilities and booleans (b, g, z, y, x).

    (2 I + s) / (P + G + s) per sample and group, or per group of the whole batch; voxels outside
    `valid` (b, z, y, x) count nowhere. Drozdzal et al. 2016.
    """
    if valid is not None:
        p, truth = p * valid[:, None], truth & valid[:, None]
    axes = tuple(range(2, p.ndim))
    overlap = (p * truth).sum(axes)
    size = p.sum(axes) + truth.sum(axes)
    if batch_dice:
        overlap, size = overlap.sum(0), size.sum(0)
    return ((2 * overlap + _SMOOTH) / (size + _SMOOTH).clamp_min(1e-8)).mean()


def merged(log_p: Tensor, outputs: Sequence[Sequence[int]]) -> Tensor:
    """Log-probabilities (b, k, ...) of groups of outputs: probabilities are added."""
    if all(len(group) == 1 for group in outputs):
        return log_p
    planes = [
        log_p[:, group[0]]
        if len(group) == 1
        else torch.stack([log_p[:, value] for value in group], 1).logsumexp(1)
        for group in outputs
    ]
    return torch.stack(planes, 1)


def shrink(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Labels at a coarser resolution, by the nearest voxel."""
    if tuple(labels.shape[1:]) == tuple(size):
        return labels
    small = F.interpolate(labels[:, None].float(), tuple(size), mode="nearest-exact")
    return small[:, 0].to(labels.dtype)


def level_weights(levels: int, *, deep_supervision: bool) -> tuple[float, ...]:
    """Weight of each decoder level's loss: halved at each, none at the lowest, sum 1."""
    if not deep_supervision or levels == 1:
        return (1.0,)
    raw = [2.0**-i for i in range(levels - 1)]
    return tuple(weight / sum(raw) for weight in raw)


def _mean(voxels: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return voxels.mean()
    return (voxels * valid).sum() / valid.sum().clamp_min(1)
