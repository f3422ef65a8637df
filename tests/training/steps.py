"""Parts of a training step on a tiny network, for tests of steps and of methods."""

from __future__ import annotations

from dataclasses import replace

import torch

from fednnunet.training.batches import Batch
from fednnunet.training.device import Machine, choose_execution
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from fednnunet.training.step import Stepper, make_stepper
from tests.training.fakes import CPU, a_job, small_plan

META = choose_execution("meta", machine=Machine())


def batch(count=4, axes=3):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(count, 1, *(8,) * axes, generator=generator)
    labels = torch.randint(-1, 3, (count, *(8,) * axes), generator=generator, dtype=torch.int16)
    return Batch(image, labels)


def stepper(
    execution=CPU, *, micro_batch=4, task=None, axes=3, batch=4, clip=12.0, ranks=1, **job
) -> Stepper:
    """For the networks of `state`; what `job` names are fields of the job."""
    plan, configuration = small_plan(task=task, patch=(8,) * axes, batch=batch, features=(4, 6, 8))
    recipe = replace(RECIPES["nnunet"], clip=clip)
    whole = a_job(plan=plan, configuration=configuration, recipe=recipe, **job)
    return replace(make_stepper(whole, execution, ranks=ranks), micro_batch=micro_batch)


def state(execution=CPU, recipe="nnunet", **changes):
    plan, configuration = small_plan(features=(4, 6, 8), **changes)
    return new_state(plan, configuration, RECIPES[recipe], execution, seed=1)
