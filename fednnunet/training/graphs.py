"""A network's kernels recorded once and replayed: CUDA graphs, without torch.compile.

With small patches a GPU finishes kernels faster than Python can launch them. On an H200 an
iteration on hippocampus (nnU-Net's plan, batch 4, torch 2.11) took 8 ms replayed and 20 ms launched
one by one; with the large patches of a CT plan it makes no difference.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from fednnunet.training.state import TrainingState
from fednnunet.training.step import Stepper

MIN_ITERATIONS = 50
"""Of a job, for which recording pays: it takes about as long as launching 20 to 30 iterations."""


def is_replayable(state: TrainingState, stepper: Stepper) -> bool:
    """Whether the job's network can be replayed, to the same gradients, and is worth it.

    A replay writes every gradient where the one before it wrote them. So an iteration may take one
    only: no micro-batches, and no rule that looks at several. Recording runs the network, which
    batch normalisation would notice, for one set of trained parameters, and shows no features.
    """
    execution, job = stepper.execution, stepper.job
    rule = job.rule
    return (
        execution.graphs
        and not execution.compile
        and (state.runner is None or isinstance(state.runner, Replay))
        and stepper.ranks == 1
        and stepper.micro_batch >= job.configuration.batch
        and job.plan.norm == "instance"
        and job.iterations >= MIN_ITERATIONS
        and not (rule.features or rule.gradient_rules or rule.phases)
    )


def prepare(state: TrainingState, stepper: Stepper) -> None:
    """Let the state's network be replayed in the stepper's job if that suits, or no longer.

    Call it while the parameters that the job keeps are frozen.
    """
    if not is_replayable(state, stepper):
        forget(state)
        return
    job, execution = stepper.job, stepper.execution
    shape = (job.configuration.batch, len(job.plan.task.channels), *job.configuration.patch_vox)
    image = execution.device.arrange(torch.randn(shape, device=execution.torch_device))
    if isinstance(state.runner, Replay) and state.runner.serves(state, image):
        return
    forget(state)
    # Recording runs on a stream of its own, and gradients are added up on the usual one.
    warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream does not match")
    with suppress(torch.OutOfMemoryError):
        state.runner = Replay(state, stepper, image)
        return
    torch.cuda.empty_cache()


def forget(state: TrainingState) -> None:
    """Give back the memory of what was recorded, if anything was."""
    if isinstance(state.runner, Replay):
        state.runner = None


class Replay:
    """Takes the place of a state's network for images (b, c, z, y, x) of one shape; in 2D no z.

    Images of other shapes go through the network as ever. Raises torch.OutOfMemoryError where the
    GPU's memory does not hold what is recorded.
    """

    def __init__(self, state: TrainingState, stepper: Stepper, image: Tensor) -> None:
        self.network, self.shape, self.trained = state.network, image.shape, _trained(state)
        device = stepper.execution.device
        levels = max(len(loss.level_weights) for loss in stepper.losses.values())
        autocast = torch.autocast(
            device.kind,
            dtype=device.dtype,
            enabled=device.precision != "float32",
            cache_enabled=False,  # what it casts is part of the recording
        )
        with autocast:
            record: Any = torch.cuda.make_graphed_callables
            self._replay = record(
                _Supervised(state.network, levels), (image,), allow_unused_input=True
            )

    def __call__(self, image: Tensor) -> Any:
        """The network's logits that a loss sees, finest first."""
        if image.shape != self.shape or not self.network.training:
            return self.network(image)
        return self._replay(image)

    def serves(self, state: TrainingState, image: Tensor) -> bool:
        """Whether it was recorded for such images, and for the parameters that are now trained."""
        recorded, asked = (self.shape, self.trained), (image.shape, _trained(state))
        return self.network is state.network and recorded == asked


class _Supervised(nn.Module):
    """A network without the coarsest logits, which no loss sees: their heads get no gradient."""

    def __init__(self, network: nn.Module, levels: int) -> None:
        super().__init__()
        self.network, self.levels = network, levels

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(image)[: self.levels])


def _trained(state: TrainingState) -> frozenset[str]:
    return frozenset(name for name, p in state.parameters.items() if p.requires_grad)
