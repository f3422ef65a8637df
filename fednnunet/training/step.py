"""One iteration: forward, loss, backward in micro-batches, and the optimiser's step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fednnunet.errors import FedNNUNetError
from fednnunet.training.batches import Batch
from fednnunet.training.counts import count_dice
from fednnunet.training.device import Execution
from fednnunet.training.losses import Loss
from fednnunet.training.state import TrainingState

LocalTerm = Callable[[nn.Module], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """What stays the same from one iteration to the next.

    `micro_batch` samples go through the network at once. `batch` is the whole batch over all GPUs,
    of which this process has a part; `ranks` counts the processes.
    """

    loss: Loss
    execution: Execution
    micro_batch: int
    batch: int
    clip: float
    axes: int
    local_term: LocalTerm | None = None
    ranks: int = 1

    def __call__(self, state: TrainingState, batch: Batch) -> tuple[Tensor, Tensor]:
        """Train on one batch at the optimiser's rate. Returns loss and Dice counts, on the device.

        Raises torch.OutOfMemoryError before anything has changed.
        """
        state.optimiser.zero_grad(set_to_none=True)
        parts = []
        for start in range(0, len(batch), self.micro_batch):
            last = start + self.micro_batch >= len(batch)
            parts.append(self._backward(state, batch.part(start, start + self.micro_batch), last))
        state.scaler.unscale_(state.optimiser)
        if self.clip:
            params = state.network.parameters()
            torch.nn.utils.clip_grad_norm_(params, self.clip, foreach=self.execution.fused)
        state.scaler.step(state.optimiser)
        state.scaler.update()
        losses, counts = zip(*parts, strict=True)
        return torch.stack(losses).sum(), torch.stack(counts).sum(0)

    def over_ranks(self, tensor: Tensor) -> Tensor:
        """The sum over the processes that share the batch."""
        if self.ranks > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def _backward(self, state: TrainingState, part: Batch, last: bool) -> tuple[Tensor, Tensor]:
        network = state.network if state.runner is None else state.runner
        part = part.to(self.execution.torch_device)
        image = part.image.to(memory_format=self.execution.device.memory_format(self.axes))
        share = len(part) / self.batch
        with _accumulating(network, last), self.execution.device.autocast():
            logits = network(image)
            loss = self.loss(logits, part.labels) * share
            total = loss * self.ranks  # DDP takes the mean over processes
            if self.local_term is not None and last:
                total = total + self.local_term(state.network)
            state.scaler.scale(total).backward()
        with torch.no_grad():
            counts = count_dice(logits[0].detach(), part.labels, self.loss.targets)
        return loss.detach(), counts


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group of parameters."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def step_with_fallback(
    step: Stepper, state: TrainingState, batch: Batch
) -> tuple[Stepper, tuple[Tensor, Tensor]]:
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


def _accumulating(network: Any, last: bool) -> AbstractContextManager[None]:
    """DDP sums gradients over processes at the last micro-batch only."""
    no_sync = getattr(network, "no_sync", None)
    return nullcontext() if last or no_sync is None else no_sync()
