"""Losses of a small task and gradients at free logits, for tests of weak labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fednnunet.labels.loss import make_loss
from fednnunet.supervision import Supervision
from fednnunet.training.recipe import RECIPES
from tests.training.fakes import small_plan, small_task

REGIONS = {"whole": (1, 2), "core": (2,)}


def loss_of(
    supervision: Supervision, *, task=None, patch=(8, 8, 8), features=(4, 8), **recipe
) -> Any:
    """The loss that a site's trainer takes for such cases: of one level, with two stages."""
    plan, configuration = small_plan(task=task or small_task(), patch=patch, features=features)
    return make_loss(plan.task, supervision, configuration, replace(RECIPES["nnunet"], **recipe))


def logits_like(labels: Tensor, outputs: int = 3, *, seed: int = 0) -> Tensor:
    """Free random logits (b, outputs, z, y, x)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(labels), outputs, *labels.shape[1:])
    return torch.randn(shape, generator=generator, requires_grad=True)


def gradient(loss: Callable[[Sequence[Tensor], Tensor], Tensor], logits: Tensor, labels: Tensor):
    """The loss's gradient at the logits."""
    (found,) = torch.autograd.grad(loss([logits], labels), logits)
    return found


def descend(loss: Callable[[Sequence[Tensor], Tensor], Tensor], logits: Tensor, labels: Tensor):
    """The logits after 200 steps of Adam on the loss alone."""
    optimiser = torch.optim.Adam([logits], lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        loss([logits], labels).backward()
        optimiser.step()
    return logits.detach()
