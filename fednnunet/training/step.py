"""One iteration: forward, loss, backward in micro-batches, and the optimiser's step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fednnunet.errors import OutOfMemoryError
from fednnunet.training.batches import Batch
from fednnunet.training.counts import count_dice
from fednnunet.training.device import Execution
from fednnunet.training.features import capture_features
from fednnunet.training.local_rule import (
    ForwardPass,
    Gradient,
    GradientRule,
    LocalRule,
    Measured,
    RoundContext,
)
from fednnunet.training.losses import Loss
from fednnunet.training.state import TrainingState

Backward = Callable[[TrainingState, int, Batch], Measured]
"""`Stepper.gradient`, or what stands in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """What stays the same from one iteration to the next.

    `micro_batch` samples go through the network at once; what that changes, `Execution` says.
    `batch` is the whole batch over all GPUs, of which this process has a part; `ranks` counts the
    processes. `local` is what a federated method changes, with what this round has `given` it.
    """

    loss: Loss
    execution: Execution
    micro_batch: int
    batch: int
    clip: float
    axes: int
    local_rule: LocalRule = field(default_factory=LocalRule)
    context: RoundContext = field(default_factory=RoundContext)
    ranks: int = 1

    def __call__(
        self, state: TrainingState, batch: Batch, backward: Backward | None = None
    ) -> Measured:
        """Train on one batch at the optimiser's rate. Returns loss and Dice counts, on the device.

        `backward` stands in for `gradient`.
        """
        gradient: Gradient = partial(backward or self.gradient, state, len(batch))
        for rule in reversed(self.local_rule.gradient_rules):
            gradient = partial(_by_way_of, rule, state, gradient, self.context)
        measured = gradient(batch)
        state.scaler.unscale_(state.optimiser)
        for correct in self.local_rule.corrections:
            correct(state, self.context)
        if self.clip:
            params = state.network.parameters()
            torch.nn.utils.clip_grad_norm_(params, self.clip, foreach=self.execution.fused)
        if self.execution.fused:
            _begin_momentum(state.optimiser)
        state.scaler.step(state.optimiser)
        state.scaler.update()
        return measured

    def over_ranks(self, tensor: Tensor) -> Tensor:
        """The sum over the processes that share the batch."""
        if self.ranks > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def gradient(self, state: TrainingState, whole: int, batch: Batch) -> Measured:
        """The gradient over `batch`; the iteration's own has `whole` samples in this process.

        Raises torch.OutOfMemoryError with a part of the gradient in place.
        """
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
        with _accumulating(network, last):
            with self.execution.device.autocast():
                with capture_features(state.network, self.local_rule.features) as features:
                    logits = network(image)
                loss = self.loss(logits, part.labels) * share
                total = loss
                if self.local_rule.terms:
                    seen = ForwardPass(
                        network=state.network,
                        image=image,
                        labels=part.labels,
                        logits=logits[0],
                        features=features[-1] if features else None,
                        targets=self.loss.targets,
                        context=self.context,
                    )
                    total = (
                        loss
                        + torch.stack([term(seen) for term in self.local_rule.terms]).sum() * share
                    )
            state.scaler.scale(total * self.ranks).backward()  # DDP takes the processes' mean
        with torch.no_grad():
            counts = count_dice(logits[0].detach(), part.labels, self.loss.targets)
        return loss.detach(), counts


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every group of parameters."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


def step_with_fallback(
    step: Stepper, state: TrainingState, batch: Batch
) -> tuple[Stepper, Measured]:
    """Run one iteration; a gradient that runs out of the GPU's memory is taken in smaller parts.

    Returns the stepper to go on with. Raises OutOfMemoryError, before the optimiser's step, where
    one sample does not fit. The optimiser's own lack of memory is not caught.
    """
    fitting = _Fitting(step)
    measured = step(state, batch, fitting)
    return fitting.step, measured


class _Fitting:
    """A stepper's gradient; its micro-batch is halved until the device's memory holds it."""

    def __init__(self, step: Stepper) -> None:
        self.step = step

    def __call__(self, state: TrainingState, whole: int, batch: Batch) -> Measured:
        before = [(buffer, buffer.clone()) for buffer in _running_statistics(state.network)]
        while True:
            with suppress(torch.OutOfMemoryError):
                return self.step.gradient(state, whole, batch)
            # Only here is the error gone, and with it the maps that its traceback holds.
            state.optimiser.zero_grad(set_to_none=True)
            for buffer, value in before:
                buffer.copy_(value)
            if self.step.execution.torch_device.type == "cuda":
                torch.cuda.empty_cache()
            size = min(self.step.micro_batch, len(batch))
            if size <= 1 or self.step.ranks > 1:
                raise _does_not_fit(self.step, size)
            self.step = replace(self.step, micro_batch=size // 2)


def _does_not_fit(step: Stepper, size: int) -> OutOfMemoryError:
    where = f"device {step.execution.device.name}"
    if size > 1:
        return OutOfMemoryError(
            f"{size} patches at once do not fit into the memory of each GPU",
            where=where,
            mend="set a lower sites.NAME.memory_gib for it: fewer then go through at once",
        )
    return OutOfMemoryError(
        "one patch alone does not fit into the GPU's memory: there is no smaller part",
        where=where,
        mend='end what else uses the GPU, train with device = "cpu", or lower '
        "sites.NAME.memory_gib and plan anew in another run folder, for smaller patches",
    )


def _running_statistics(network: nn.Module) -> list[Tensor]:
    """The tensors that a forward pass moves: those of batch normalisation."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    return [buffer for module in norms for buffer in module.buffers()]


def _begin_momentum(optimiser: torch.optim.Optimizer) -> None:
    """Give what is trained for the first time, after other parameters, a momentum of zero.

    That is what no momentum means, but torch's fused SGD takes either all of them or none.
    """
    if not isinstance(optimiser, torch.optim.SGD):
        return
    for group in optimiser.param_groups:
        trained = [p for p in group["params"] if p.grad is not None]
        fresh = [p for p in trained if optimiser.state[p].get("momentum_buffer") is None]
        if len(fresh) < len(trained):
            for parameter in fresh:
                optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _by_way_of(
    rule: GradientRule,
    state: TrainingState,
    gradient: Gradient,
    context: RoundContext,
    batch: Batch,
) -> Measured:
    return rule(state, batch, gradient, context)


def _accumulating(network: Any, last: bool) -> AbstractContextManager[None]:
    """DDP sums gradients over processes at the last micro-batch only."""
    no_sync = getattr(network, "no_sync", None)
    return nullcontext() if last or no_sync is None else no_sync()
