"""One iteration: forward, loss, backward in micro-batches, and the optimiser's step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor

from fednnunet.supervision import Supervision
from fednnunet.training.batches import Batch, take
from fednnunet.training.completion import CompletedLoss
from fednnunet.training.counts import count_batch
from fednnunet.training.device import Execution
from fednnunet.training.features import capture_features
from fednnunet.training.local_job import LocalJob
from fednnunet.training.local_rule import (
    ForwardPass,
    Gradient,
    GradientRule,
    Measured,
    RoundContext,
)
from fednnunet.training.losses import SupervisedLoss
from fednnunet.training.state import TrainingState
from fednnunet.training.targets import Targets

Backward = Callable[[TrainingState, int, Batch], Measured]
"""`Stepper.gradient`, or a replacement for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """What stays the same from one iteration to the next.

    `losses` has the loss of every supervision in the job. `micro_batch` samples go through the
    network at once; what that changes, `Execution` says. `context` is the job's, on the device.
    `ranks` counts the processes that share each batch. `completed` is the loss on pseudo-labels.
    """

    job: LocalJob
    execution: Execution
    losses: Mapping[Supervision, SupervisedLoss]
    micro_batch: int
    context: RoundContext = field(default_factory=RoundContext)
    ranks: int = 1
    completed: CompletedLoss | None = None

    def __call__(
        self, state: TrainingState, batch: Batch, backward: Backward | None = None
    ) -> Measured:
        """Train on one batch at the optimiser's learning rate.

        Returns the loss and the Dice counts, on the device. `backward` replaces `gradient`.
        """
        gradient: Gradient = partial(backward or self.gradient, state, len(batch))
        for rule in reversed(self.job.rule.gradient_rules):
            gradient = partial(_apply_rule, rule, state, gradient, self.context)
        measured = gradient(batch)
        state.scaler.unscale_(state.optimiser)
        for correct in self.job.rule.corrections:
            correct(state, self.context)
        if self.job.recipe.clip:
            params = state.network.parameters()
            torch.nn.utils.clip_grad_norm_(
                params, self.job.recipe.clip, foreach=self.execution.fused
            )
        if self.execution.fused:
            _begin_momentum(state.optimiser)
        state.scaler.step(state.optimiser)
        state.scaler.update()
        return measured

    @property
    def targets(self) -> dict[Supervision, Targets]:
        """The targets of every supervision in the job."""
        return {supervision: loss.targets for supervision, loss in self.losses.items()}

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
        over_all = self.job.configuration.batch * len(batch) / whole
        parts = []
        for start in range(0, len(batch), self.micro_batch):
            part = batch.part(start, start + self.micro_batch)
            last = start + self.micro_batch >= len(batch)
            parts.append(self._backward(state, part, len(part) / over_all, last))
        losses, counts = zip(*parts, strict=True)
        return torch.stack(losses).sum(), torch.stack(counts).sum(0)

    def _backward(self, state: TrainingState, part: Batch, weight: float, last: bool) -> Measured:
        """Add `weight` times the gradient over one micro-batch; its loss, so weighted, and counts.

        Samples whose labels teach the same go into one loss, weighted by their number.
        """
        network = state.network if state.runner is None else state.runner
        part = part.to(self.execution.torch_device)
        image = self.execution.device.arrange(part.image)
        with _accumulating(network, last):
            with self.execution.device.autocast():
                with capture_features(state.network, self.job.rule.features) as features:
                    logits = network(image)
                found = [
                    self._loss(
                        state,
                        Batch(
                            take(image, rows),
                            take(part.labels, rows),
                            (kind,) * len(rows),
                            None if part.weak is None else take(part.weak, rows),
                        ),
                        [take(level, rows) for level in logits],
                        take(features[-1], rows) if features else None,
                        weight * (len(rows) / len(part)),
                    )
                    for kind, rows in part.by_supervision()
                ]
                losses, totals = zip(*found, strict=True)
                loss, total = reduce(torch.add, losses), reduce(torch.add, totals)
                if part.pseudo and self.completed is not None:
                    total = total + self.completed(logits, part) * weight
            state.scaler.scale(total * self.ranks).backward()  # DDP takes the processes' mean
        with torch.no_grad():
            counts = count_batch(logits[0].detach(), part, self.targets)
        return loss.detach(), counts

    def _loss(
        self,
        state: TrainingState,
        samples: Batch,
        logits: Sequence[Tensor],
        features: Tensor | None,
        weight: float,
    ) -> tuple[Tensor, Tensor]:
        """Loss of samples of one supervision, and its sum with the method's terms; weighted."""
        supervised = self.losses[samples.supervision[0]]
        loss = supervised(logits, samples.labels) * weight
        if not self.job.rule.terms:
            return loss, loss
        forward = ForwardPass(
            network=state.network,
            image=samples.image,
            labels=samples.labels,
            logits=logits[0],
            features=features,
            targets=supervised.targets,
            context=self.context,
            weak=samples.weak,
        )
        terms = torch.stack([term(forward) for term in self.job.rule.terms])
        return loss, loss + terms.sum() * weight


def make_stepper(job: LocalJob, execution: Execution, *, ranks: int = 1) -> Stepper:
    """The stepper of a job; `ranks` counts the processes that share each batch."""
    return Stepper(
        job=job,
        execution=execution,
        losses=job.losses(),
        micro_batch=samples_at_once(job, execution),
        context=job.context.on(execution.torch_device),
        ranks=ranks,
        completed=job.completed_loss(),
    )


def samples_at_once(job: LocalJob, execution: Execution) -> int:
    """Number of samples that go through the network together.

    On a CPU in float32 two at a time are faster than a whole batch, since their feature maps stay
    nearer to the cache, and take a fraction of the memory; in bfloat16 maps are half as large, and
    the costs of a forward pass that do not depend on its size weigh more (a batch of 7 took 0.92 s
    whole, 1.11 s by twos). Batches are divided only where that computes the same: with instance
    normalisation, a Dice per sample and no ignored voxels, with which cross-entropy is a mean over
    the known voxels of all samples that go through together. Otherwise the batch stays whole,
    unless the execution bounds it: memory has priority then, and the step is close to the whole
    batch's (see `Execution`).
    """
    configuration = job.configuration
    if execution.micro_batch is not None:
        return min(execution.micro_batch, configuration.batch)
    same = job.plan.norm == "instance" and not configuration.batch_dice and not job.ignores
    float32_on_cpu = execution.device.kind == "cpu" and execution.device.precision == "float32"
    return min(2, configuration.batch) if same and float32_on_cpu else configuration.batch


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every group of parameters."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


def _begin_momentum(optimiser: torch.optim.Optimizer) -> None:
    """Give parameters that are trained for the first time, after others, a momentum of zero.

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


def _apply_rule(
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
