"""The supervised loss of each kind of labels: the table from which a site's trainer chooses."""

from __future__ import annotations

from collections.abc import Mapping

from fednnunet.labels.boxes import make_box_loss
from fednnunet.labels.marks import make_marks_loss
from fednnunet.labels.presence import make_presence_loss
from fednnunet.labels.unlabelled import make_zero_loss
from fednnunet.planning.plan import Configuration
from fednnunet.supervision import Supervision, SupervisionKind
from fednnunet.task import Task
from fednnunet.training.losses import LossMaker, SupervisedLoss
from fednnunet.training.losses import make_loss as make_map_loss
from fednnunet.training.recipe import Recipe

LOSSES: Mapping[SupervisionKind, LossMaker] = {
    "full": make_map_loss,
    "partial": make_map_loss,
    "pseudo": make_map_loss,
    "scribble": make_marks_loss,
    "point": make_marks_loss,
    "box": make_box_loss,
    "image": make_presence_loss,
    "none": make_zero_loss,
}
"""What makes the loss of cases with each kind of labels."""


def make_loss(
    task: Task, supervision: Supervision, configuration: Configuration, recipe: Recipe
) -> SupervisedLoss:
    """The loss of cases with that supervision, by a plan's configuration and a recipe.

    Raises InputError where the labels annotate nothing of the task, or a value it does not have.
    """
    return LOSSES[supervision.kind](task, supervision, configuration, recipe)
