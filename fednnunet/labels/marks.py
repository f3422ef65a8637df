"""Scribbles and points: cross-entropy and Dice on the marked voxels alone.

With M the marked voxels and y their labels (background's marks too),

    L = - 1/|M| sum over v in M of log p_v(y_v)
        - mean over classes c of (2 sum_M p(c) [y = c] + s) / (sum_M p(c) + sum_M [y = c] + s).

Voxels that nobody marked are in neither sum and get no gradient. Partial cross-entropy: Tang et
al., On Regularized Losses for Weakly-supervised CNN Segmentation, ECCV 2018. Both terms, by
nnU-Net's ignore label: Gotkowski et al., Embarrassingly Simple Scribble Supervision for 3D Medical
Segmentation, 2024. Where only some classes were looked for, the others are merged with the
background (see `training.targets`). The cross-entropy is a mean over the marked voxels of all
samples that go through the network together, so such batches are not divided.
"""

from __future__ import annotations

from fednnunet.errors import InputError
from fednnunet.planning.plan import Configuration
from fednnunet.supervision import SPARSE, Supervision
from fednnunet.task import Task
from fednnunet.training.losses import SupervisedLoss, make_loss
from fednnunet.training.recipe import Recipe


def make_marks_loss(
    task: Task, supervision: Supervision, configuration: Configuration, recipe: Recipe
) -> SupervisedLoss:
    """The loss of scribbles or points; InputError for labels without unmarked voxels."""
    if supervision.kind not in SPARSE:
        raise InputError(
            f"labels of kind {supervision.kind!r} have no unmarked voxels",
            mend='use this loss for "scribble" and "point" labels',
        )
    return make_loss(task, supervision, configuration, recipe)
