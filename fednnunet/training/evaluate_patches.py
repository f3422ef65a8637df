"""Run a network on patches without training it: the one evaluation loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from fednnunet.supervision import Supervision
from fednnunet.task import Task
from fednnunet.training.batches import Batch
from fednnunet.training.counts import DiceCounts, as_counts, count_batch
from fednnunet.training.device import Execution
from fednnunet.training.features import capture_features
from fednnunet.training.targets import Targets, make_targets

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A network's output for a batch, all on the network's device.

    `logits` (b, k, z, y, x) of the finest resolution, `features` (b, f, z, y, x) that its head
    reads, where they were asked for; in 2D without z.
    """

    batch: Batch
    logits: Tensor
    features: Tensor | None = None


def evaluate_patches(
    network: nn.Module,
    batches: Iterable[Batch],
    execution: Execution,
    measure: Callable[[Prediction], Result],
    *,
    features: bool = False,
) -> list[Result]:
    """What `measure` finds in the network's prediction for each batch.

    The network is in evaluation mode meanwhile, without gradients, and unchanged afterwards.
    """
    found = []
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad(), execution.device.autocast():
            for batch in batches:
                batch = batch.to(execution.torch_device)
                with capture_features(network, features) as captured:
                    logits: Tensor = network(execution.device.arrange(batch.image))
                prediction = Prediction(
                    batch=batch, logits=logits, features=captured[-1] if captured else None
                )
                found.append(measure(prediction))
    finally:
        network.train(was_training)
    return found


def count_patches(
    network: nn.Module, batches: Iterable[Batch], task: Task, execution: Execution
) -> DiceCounts:
    """Dice counts over all batches together: nnU-Net's pseudo-Dice."""
    targets: dict[Supervision, Targets] = {}

    def count(prediction: Prediction) -> Tensor:
        for supervision in prediction.batch.supervision:
            if supervision not in targets:
                targets[supervision] = make_targets(task, supervision)
        return count_batch(prediction.logits, prediction.batch, targets)

    counts = evaluate_patches(network, batches, execution, count)
    if not counts:
        return DiceCounts.empty(task.targets)
    return as_counts(torch.stack(counts).sum(0), task.targets)
