"""Parts of a training step on a tiny network, for tests of steps and of methods."""

from __future__ import annotations

import torch

from fednnunet.training.batches import Batch
from fednnunet.training.device import Machine, choose_execution
from fednnunet.training.losses import Loss
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from fednnunet.training.step import Stepper
from fednnunet.training.targets import make_targets
from tests.training.fakes import CPU, small_plan, small_task

META = choose_execution("meta", machine=Machine())


def batch(count=4, axes=3):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(count, 1, *(8,) * axes, generator=generator)
    labels = torch.randint(-1, 3, (count, *(8,) * axes), generator=generator, dtype=torch.int16)
    return Batch(image, labels)


def stepper(execution=CPU, *, micro_batch=4, task=None, here=None, axes=3, **changes):
    loss = Loss(
        targets=make_targets(task or small_task(), here),
        batch_dice=False,
        level_weights=(2 / 3, 1 / 3),
    )
    values = {"loss": loss, "execution": execution, "micro_batch": micro_batch}
    return Stepper(**{**values, "batch": 4, "clip": 12.0, "axes": axes, **changes})


def state(execution=CPU, recipe="nnunet", **changes):
    plan, configuration = small_plan(features=(4, 6, 8), **changes)
    return new_state(plan, configuration, RECIPES[recipe], execution, seed=1)
