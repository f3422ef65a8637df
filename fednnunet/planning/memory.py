"""Memory that a network needs in training, in elements of feature maps (rules G of nnU-Net v2).

An element is one number in a feature map, whatever its size in bytes. nnU-Net measured once, for
each kind of network, how many elements fit into a GPU of a given size; other sizes are scaled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fednnunet.errors import PlanError
from fednnunet.planning.plan import Architecture, Configuration
from fednnunet.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A calibration: `batch` samples of `elements` feature map elements fit into `memory_gib`."""

    elements: float
    batch: int
    memory_gib: float

    def at(self, memory_gib: float) -> float:
        """Elements per sample that fit into another memory with the same batch."""
        return self.elements * (memory_gib / self.memory_gib)


PLAIN_3D = Budget(elements=560e6, batch=2, memory_gib=8)
PLAIN_2D = Budget(elements=85e6, batch=12, memory_gib=8)
RESIDUAL_3D = Budget(elements=680e6, batch=2, memory_gib=8)
RESIDUAL_2D = Budget(elements=135e6, batch=12, memory_gib=8)


def output_channels(task: Task) -> int:
    """Output channels as nnU-Net counts them: background, labels or regions, ignore label."""
    outputs = len(task.regions) + 1 if task.regions else len(task.labels)
    return outputs + (task.ignore is not None)


def estimate_elements(architecture: Architecture, patch_vox: Sequence[int], outputs: int) -> int:
    """Elements written by the convolutions for one sample: encoder, decoder and finest head."""
    total, size, before = 0, list(patch_vox), 0
    for i, stage in enumerate(architecture.stages):
        size = [edge // stride for edge, stride in zip(size, stage.stride, strict=True)]
        voxels = math.prod(size)
        maps = stage.convs
        if architecture.kind == "residual":
            strided = any(stride > 1 for stride in stage.stride)
            projected = i > 0 and (strided or stage.features != before)
            maps = 2 * stage.convs + projected + (i == 0)  # (i == 0): the stem
        if stage.decoder_convs:
            maps += stage.decoder_convs + 1  # with the transposed convolution
        total += maps * stage.features * voxels
        if i == 0:
            total += outputs * voxels
        before = stage.features
    return total


def micro_batch(configuration: Configuration, task: Task, memory_gib: float) -> int:
    """Samples per forward pass at a site with `memory_gib`: a divisor of the plan's batch.

    The site accumulates gradients over `batch / micro_batch` passes. Raises PlanError if not even
    one sample fits.
    """
    residual = configuration.architecture.kind == "residual"
    if configuration.is_2d:
        budget = RESIDUAL_2D if residual else PLAIN_2D
    else:
        budget = RESIDUAL_3D if residual else PLAIN_3D
    need = estimate_elements(
        configuration.architecture, configuration.patch_vox, output_channels(task)
    )
    fitting = round(budget.at(memory_gib) * budget.batch / need)
    if fitting < 1:
        required_gib = need / (budget.elements * budget.batch) * budget.memory_gib
        raise PlanError(
            f"a patch of {list(configuration.patch_vox)} does not fit into {memory_gib:g} GiB",
            where=f"configuration {configuration.name}",
            mend=f"plan with memory_gib = {memory_gib:g}, or give the site {required_gib:.1f} GiB",
        )
    batch = configuration.batch
    return max(n for n in range(1, batch + 1) if batch % n == 0 and n <= max(fitting, 1))


def training_gib(configuration: Configuration, task: Task) -> float:
    """Rough memory of a training process: interpreter plus three float32 values per element.

    Each element is stored as the output of a convolution, as the output of a normalisation layer,
    and as a gradient.
    """
    elements = estimate_elements(
        configuration.architecture, configuration.patch_vox, output_channels(task)
    )
    return 1.0 + 3 * 4 * elements * configuration.batch / 2**30
