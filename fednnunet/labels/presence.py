"""Image labels: a class is somewhere in the volume, or nowhere.

Let A be the absent classes, V the patch's voxels inside the volume and N all its voxels.

    L_absent = - 1/N sum over v of log(1 - sum over c in A of p_v(c))

is taught in every patch; for regions, the mean of -log(1 - p_v(r)) over the regions that are made
of absent classes alone. A class that is present somewhere (or a region with such a class) need not
be in the patch. With m_c = max over v in V of p_v(c), the label of a set of voxels as the maximum
over them (multiple-instance learning; Pathak et al., Fully Convolutional Multi-Class Multiple
Instance Learning, ICLR 2015 workshop):

    L_present = mean over c of -log m_c      where the patch holds the whole volume,
                               w (1 - m_c)   elsewhere.

A patch holds the whole volume where all its faces lie outside; then the term is certain. Elsewhere
it is an assumption, so its weight w is small, and as the gradient of 1 - p at a logit is p (1 - p),
it does not disturb a network that is sure that the class is not there: it only helps a guess that
it has made. A patch of a 2D configuration never holds the volume. All else is unknown, the
background too.

    L = w_ce (L_absent + L_present)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.labels.levels import NOWHERE, chosen_logits, levels_of, log_softmax
from fednnunet.planning.plan import Configuration
from fednnunet.supervision import Supervision
from fednnunet.task import Task
from fednnunet.training.losses import shrink
from fednnunet.training.patches import OUTSIDE
from fednnunet.training.recipe import Recipe
from fednnunet.training.targets import Targets, make_targets

ELSEWHERE = 0.1
"""Weight of a present class in a patch that does not hold the whole volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceLoss:
    """Both terms at every resolution, weighted.

    `present` and `absent` are outputs of the network, `outputs` is the number of them all.
    """

    targets: Targets
    present: tuple[int, ...]
    absent: tuple[int, ...]
    outputs: int
    level_weights: tuple[float, ...]
    cross_entropy_weight: float = 1.0
    elsewhere: float = ELSEWHERE

    def __call__(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Scalar loss of logits (b, k, z, y, x), finest first; 2D without z.

        Of labels (b, z, y, x) it is only read where they are -1, outside the volume.
        """
        whole = holds_the_volume(labels)
        terms = [
            weight * self.level(x, shrink(labels, x.shape[2:]), whole)
            for weight, x in zip(self.level_weights, logits, strict=False)
            if weight
        ]
        return self.cross_entropy_weight * torch.stack(terms).sum()

    def level(self, logits: Tensor, labels: Tensor, whole: Tensor) -> Tensor:
        """Loss at one resolution; `whole` (b) says which patches hold the whole volume."""
        loss = logits[:0].float().sum()
        if self.targets.regions:
            if self.absent:
                absent = chosen_logits(logits, [(output,) for output in self.absent])
                loss = loss + F.softplus(absent).mean()
            if self.present:
                present = chosen_logits(logits, [(output,) for output in self.present])
                loss = loss + self._present(F.logsigmoid(present), labels, whole)
            return loss
        rest = tuple(i for i in range(self.outputs) if i not in self.absent)
        log_p = log_softmax(logits, (rest, *((output,) for output in self.present)))
        if self.absent:
            loss = loss - log_p[:, 0].mean()
        if self.present:
            loss = loss + self._present(log_p[:, 1:], labels, whole)
        return loss

    def _present(self, log_p: Tensor, labels: Tensor, whole: Tensor) -> Tensor:
        """L_present of log-probabilities (b, g, z, y, x) of classes that are in the volume."""
        outside = (labels == OUTSIDE)[:, None]
        best = log_p.masked_fill(outside, NOWHERE).amax(tuple(range(2, log_p.ndim)))  # (b, g)
        nothing = best < NOWHERE / 2  # no voxel of the patch lies in the volume
        guess = self.elsewhere * (1 - best.exp())
        return torch.where(whole[:, None], -best, guess).masked_fill(nothing, 0.0).mean()


def holds_the_volume(labels: Tensor) -> Tensor:
    """Which patches (b) have only voxels outside the volume on all six faces; none in 2D."""
    if labels.ndim == 3:
        return torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
    ends = [labels.select(axis, end) for axis in (1, 2, 3) for end in (0, labels.shape[axis] - 1)]
    return torch.stack([(end == OUTSIDE).flatten(1).all(1) for end in ends]).all(0)


def outputs_with(task: Task, values: Collection[int], *, alone: bool) -> tuple[int, ...]:
    """The network's outputs that stand for these label values.

    A region does where one of its values is among them; with `alone`, where all are.
    """
    if not task.regions:
        return tuple(sorted(set(values)))
    chosen = all if alone else any
    parts = enumerate(task.regions.values())
    return tuple(i for i, part in parts if chosen(value in values for value in part))


def make_presence_loss(
    task: Task, supervision: Supervision, configuration: Configuration, recipe: Recipe
) -> PresenceLoss:
    """The loss of cases whose volume has or lacks some classes.

    Raises InputError for classes that the task does not have.
    """
    said = {*supervision.present, *supervision.absent}
    if alien := said - set(range(1, len(task.labels))):
        raise InputError(
            f"an image label names the classes {', '.join(map(str, sorted(alien)))}, the task has "
            f"1 to {len(task.labels) - 1}",
            mend="name classes of the task, without the background",
        )
    return PresenceLoss(
        targets=make_targets(task, supervision),
        present=outputs_with(task, supervision.present, alone=False),
        absent=outputs_with(task, supervision.absent, alone=True),
        outputs=task.heads,
        level_weights=levels_of(configuration, recipe),
        cross_entropy_weight=recipe.cross_entropy_weight,
    )
