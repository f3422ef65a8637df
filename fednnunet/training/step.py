"""One iteration: forward, loss, backward in micro-batches, and the optimiser's step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fednnunet.errors import FedNNUNetError
from fednnunet.training.batches import Batch
from fednnunet.training.counts import count_dice
from fednnunet.training.device import Execution
from fednnunet.training.features import watching
from fednnunet.training.local import Detour, Given, Gradient, Local, Measured, Pass
from fednnunet.training.losses import Loss
from fednnunet.training.state import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """What stays the same from one iteration to the next.

    `micro_batch` samples go through the network at once. `batch` is the whole batch over all GPUs,
    of which this process has a part; `ranks` counts the processes. `local` is what a federated
    method changes, with what this round has `given` it.
    """

    loss: Loss
    execution: Execution
    micro_batch: int
    batch: int
    clip: float
    axes: int
    local: Local = field(default_factory=Local)
    given: Given = field(default_factory=Given)
    ranks: int = 1

    def __call__(self, state: TrainingState, batch: Batch) -> Measured:
        """Train on one batch at the optimiser's rate. Returns loss and Dice counts, on the device.

        Raises torch.OutOfMemoryError before anything has changed.
        """
        gradient: Gradient = partial(self._gradient, state, len(batch))
        for detour in reversed(self.local.detours):
            gradient = partial(_by_way_of, detour, state, gradient, self.given)
        measured = gradient(batch)
        state.scaler.unscale_(state.optimiser)
        for correct in self.local.corrections:
            correct(state, self.given)
        if self.clip:
            params = state.network.parameters()
            torch.nn.utils.clip_grad_norm_(params, self.clip, foreach=self.execution.fused)
        state.scaler.step(state.optimiser)
        state.scaler.update()
        return measured

    def over_ranks(self, tensor: Tensor) -> Tensor:
        """The sum over the processes that share the batch."""
        if self.ranks > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def _gradient(self, state: TrainingState, whole: int, batch: Batch) -> Measured:
        """The gradient over `batch`; the iteration's own has `whole` samples in this process."""
        state.optimiser.zero_grad(set_to_none=True)
        over_all = self.batch * len(batch) / whole
        parts = []
        for start in range(0, len(batch), self.micro_batch):
            part = batch.part(start, start + self.micro_batch)
            last = start + self.micro_batch >= len(batch)
            parts.append(self._backward(state, part, len(part) / over_all, last))
        losses, counts = zip(*parts, strict=True)
        return torch.stack(losses).sum(), torch.stack(counts).sum(0)

    def _backward(self, state: TrainingState, part: Batch, share: float, last: bool) -> Measured:
        network = state.network if state.runner is None else state.runner
        part = part.to(self.execution.torch_device)
        image = part.image.to(memory_format=self.execution.device.memory_format(self.axes))
        with _accumulating(network, last), self.execution.device.autocast():
            with watching(state.network, self.local.features) as features:
                logits = network(image)
            loss = self.loss(logits, part.labels) * share
            total = loss
            if self.local.terms:
                seen = Pass(
                    network=state.network,
                    image=image,
                    labels=part.labels,
                    logits=logits[0],
                    features=features[-1] if features else None,
                    targets=self.loss.targets,
                    given=self.given,
                )
                total = loss + torch.stack([term(seen) for term in self.local.terms]).sum() * share
            state.scaler.scale(total * self.ranks).backward()  # DDP takes the processes' mean
        with torch.no_grad():
            counts = count_dice(logits[0].detach(), part.labels, self.loss.targets)
        return loss.detach(), counts


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group of parameters."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def step_with_fallback(
    step: Stepper, state: TrainingState, batch: Batch
) -> tuple[Stepper, Measured]:
    """Run one iteration; on the GPU's out-of-memory repeat it with half the micro-batch.

    Returns the stepper to go on with. Raises an error where one sample does not fit.
    """
    while True:
        try:
            return step, step(state, batch)
        except torch.OutOfMemoryError:
            state.optimiser.zero_grad(set_to_none=True)
            if step.execution.torch_device.type == "cuda":
                torch.cuda.empty_cache()
        size = min(step.micro_batch, len(batch))
        if size <= 1 or step.ranks > 1:
            raise FedNNUNetError(
                f"{size} patches at once do not fit into the GPU's memory",
                where=f"device {step.execution.device.name}",
                mend="set a smaller micro_batch, or plan with a smaller memory_gib",
            )
        step = replace(step, micro_batch=size // 2)


def _by_way_of(
    detour: Detour, state: TrainingState, gradient: Gradient, given: Given, batch: Batch
) -> Measured:
    return detour(state, batch, gradient, given)


def _accumulating(network: Any, last: bool) -> AbstractContextManager[None]:
    """DDP sums gradients over processes at the last micro-batch only."""
    no_sync = getattr(network, "no_sync", None)
    return nullcontext() if last or no_sync is None else no_sync()
