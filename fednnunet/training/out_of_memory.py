"""An iteration that does not fit into a GPU's memory is repeated with smaller micro-batches."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fednnunet.errors import OutOfMemoryError
from fednnunet.training import graphs
from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import Measured
from fednnunet.training.state import TrainingState
from fednnunet.training.step import Stepper


def step_with_fallback(
    stepper: Stepper, state: TrainingState, batch: Batch
) -> tuple[Stepper, Measured]:
    """Run one iteration; a gradient that runs out of the GPU's memory is taken in smaller parts.

    Returns the stepper for the next iterations. Raises OutOfMemoryError, before the optimiser's
    step, where one sample does not fit. The optimiser's own lack of memory is not caught.
    """
    halving = _HalvingGradient(stepper)
    measured = stepper(state, batch, halving)
    return halving.stepper, measured


class _HalvingGradient:
    """A stepper's gradient; its micro-batch is halved until the device's memory holds it."""

    def __init__(self, stepper: Stepper) -> None:
        self.stepper = stepper

    def __call__(self, state: TrainingState, whole: int, batch: Batch) -> Measured:
        before = [(buffer, buffer.clone()) for buffer in _running_statistics(state.network)]
        while True:
            with suppress(torch.OutOfMemoryError):
                return self.stepper.gradient(state, whole, batch)
            # Only now is the error deleted, and with it the feature maps that its traceback held.
            graphs.forget(state)
            state.optimiser.zero_grad(set_to_none=True)
            for buffer, value in before:
                buffer.copy_(value)
            if self.stepper.execution.torch_device.type == "cuda":
                torch.cuda.empty_cache()
            size = min(self.stepper.micro_batch, len(batch))
            if size <= 1 or self.stepper.ranks > 1:
                raise _does_not_fit(self.stepper, size)
            self.stepper = replace(self.stepper, micro_batch=size // 2)


def _does_not_fit(stepper: Stepper, size: int) -> OutOfMemoryError:
    where = f"device {stepper.execution.device.name}"
    if size > 1:
        return OutOfMemoryError(
            f"{size} patches at once do not fit into the memory of each GPU",
            where=where,
            mend="set a lower sites.NAME.memory_gib, so that fewer patches are computed at once",
        )
    return OutOfMemoryError(
        "one patch alone does not fit into the GPU's memory: there is no smaller part",
        where=where,
        mend='end what else uses the GPU, train with device = "cpu", or lower '
        "sites.NAME.memory_gib and plan anew in another run folder, for smaller patches",
    )


def _running_statistics(network: nn.Module) -> list[Tensor]:
    """The tensors that a forward pass changes: those of batch normalisation."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    return [buffer for module in norms for buffer in module.buffers()]
