"""One configuration: patch, network and batch for a spacing (rules D to H of nnU-Net v2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fednnunet.errors import PlanError
from fednnunet.planning.memory import estimate_elements
from fednnunet.planning.plan import Architecture, Reason
from fednnunet.planning.presets import Planner
from fednnunet.planning.topology import Topology, plan_topology
from fednnunet.text import plural

# The first candidate for a patch has the voxels of a square (2D) or cube (3D) with this edge.
_START_VOXELS = {2: 2048, 3: 256}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBudget:
    """The planner, the GPU memory for patch and batch, and the network's output channels."""

    planner: Planner
    patch_gib: float
    batch_gib: float
    outputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """Patch, network and batch of a configuration, with the reasons for them."""

    spacing_mm: tuple[float, ...]
    patch_vox: tuple[int, ...]
    batch: int
    architecture: Architecture
    reasons: tuple[Reason, ...]


def size_configuration(
    budget: MemoryBudget,
    spacing_mm: Sequence[float],
    median_vox: Sequence[float],
    dataset_voxels: float,
) -> Sized:
    """Choose patch, network and batch. Raises PlanError if no patch is possible.

    `spacing_mm` and `median_vox` have one entry per axis (2 or 3); `dataset_voxels` is the number
    of voxels of all cases together.
    """
    start = first_patch(spacing_mm, median_vox)
    topology = plan_topology(spacing_mm, start)
    topology = _cut_padding(topology, spacing_mm, median_vox, budget.planner.max_padding)
    architecture = budget.planner.architecture(topology)
    need = estimate_elements(architecture, topology.patch_vox, budget.outputs)
    reference = budget.planner.budget(is_2d=len(spacing_mm) == 2)
    limit = reference.at(budget.patch_gib)
    room = limit * reference.batch / 2 if budget.planner.shrink_to_two else limit
    first, steps = topology.patch_vox, 0
    while need > room:
        topology = _shrink(topology, spacing_mm, median_vox)
        architecture = budget.planner.architecture(topology)
        need = estimate_elements(architecture, topology.patch_vox, budget.outputs)
        steps += 1
    batch, why = _batch(budget, need, dataset_voxels, topology.patch_vox)
    start_text, shape = " x ".join(f"{v:g}" for v in start), _x(topology.patch_vox)
    patch_why = (
        f"{shape} voxels. The first candidate has the same length in mm along every axis and "
        f"{_START_VOXELS[len(start)]}^{len(start)} voxels, cut to the median shape "
        f"{_x(median_vox)}: {start_text}. It is rounded to {_x(first)} so that the strides divide "
        f"it"
    )
    if steps:
        patch_why += (
            f". It was then shortened in {steps} steps, each time along the axis that is longest "
            f"relative to the median shape, until the feature maps of one sample have at most "
            f"{room / 1e6:.0f} million elements"
        )
    patch_why += f". The feature maps of one sample have {need / 1e6:.1f} million elements"
    reasons = (
        Reason(decision="patch", because=patch_why),
        Reason(decision="strides and kernels", because=_pooling(topology)),
        Reason(decision="features", because=_features(budget.planner, architecture)),
        Reason(decision="batch", because=why),
    )
    return Sized(
        spacing_mm=tuple(float(s) for s in spacing_mm),
        patch_vox=topology.patch_vox,
        batch=batch,
        architecture=architecture,
        reasons=reasons,
    )


def first_patch(spacing_mm: Sequence[float], median_vox: Sequence[float]) -> list[float]:
    """The first candidate for the patch: isotropic in mm, at most as long as the median shape."""
    axes = len(spacing_mm)
    inverse = 1 / np.array(spacing_mm)
    scaled = inverse * (_START_VOXELS[axes] ** axes / np.prod(inverse)) ** (1 / axes)
    return [min(round(edge), high) for edge, high in zip(scaled.tolist(), median_vox, strict=True)]


def _cut_padding(
    topology: Topology,
    spacing_mm: Sequence[float],
    median_vox: Sequence[float],
    max_padding: float | None,
) -> Topology:
    """Shorten the axes along which the patch exceeds the median shape by more than a share."""
    if max_padding is None:
        return topology
    patch = []
    for edge, step, median in zip(topology.patch_vox, topology.divisor, median_vox, strict=True):
        too_long = edge > median * (1 + max_padding) and edge > step
        patch.append(edge - step if too_long else edge)
    return plan_topology(spacing_mm, patch)


def _shrink(
    topology: Topology, spacing_mm: Sequence[float], median_vox: Sequence[float]
) -> Topology:
    """Shorten the axis that is longest relative to the median shape (on ties, the last one).

    It is shortened by the divisor of the shortened patch, so that no valid length is skipped.
    """
    patch, divisor = list(topology.patch_vox), topology.divisor
    ratios = [edge / median for edge, median in zip(patch, median_vox, strict=True)]
    axis = max(range(len(patch)), key=lambda a: (ratios[a], a))
    trial = patch.copy()
    trial[axis] -= divisor[axis]
    patch[axis] -= plan_topology(spacing_mm, trial).divisor[axis]
    if patch[axis] < 1:
        raise PlanError(
            "no patch fits into the memory",
            mend="give a larger memory_gib, or choose another planner",
        )
    return plan_topology(spacing_mm, patch)


def _batch(
    budget: MemoryBudget, need: int, dataset_voxels: float, patch_vox: Sequence[int]
) -> tuple[int, str]:
    planner, is_2d = budget.planner, len(patch_vox) == 2
    reference = planner.budget(is_2d=is_2d)
    fits = round(reference.at(budget.batch_gib) / need * reference.batch)
    cap = round(dataset_voxels * planner.dataset_share / math.prod(patch_vox))
    max_batch = planner.max_batch_2d if is_2d else planner.max_batch_3d
    batch = max(min(fits, cap, max_batch or fits), 2)
    why = (
        f"{batch} samples: the smallest of these limits, but at least 2. {fits} samples fit into "
        f"{budget.batch_gib:g} GiB; a batch may hold {planner.dataset_share:.0%} of all voxels of "
        f"all cases ({_millions(dataset_voxels)}), which is {_patches(cap)}"
    )
    if max_batch:
        why += f"; this planner allows at most {max_batch}"
    return batch, why


def _millions(voxels: float) -> str:
    """A number of voxels that a person reads: "14.2 million", "850,000"."""
    return f"{voxels / 1e6:,.1f} million" if voxels >= 1e6 else f"{voxels:,.0f}"


def _patches(count: int) -> str:
    return plural(count, "patch", "patches") if count else "less than one patch"


def _pooling(topology: Topology) -> str:
    rule = (
        "At each stage, the axes whose spacing is less than twice the finest one are halved, as "
        "long as they have at least 8 voxels (12 if only one axis is left). Along a coarser axis "
        "the kernel is 1, until the other axes have become as coarse"
    )
    return "; ".join([rule, *topology.remarks])


def _features(planner: Planner, architecture: Architecture) -> str:
    numbers = ", ".join(str(stage.features) for stage in architecture.stages)
    return (
        f"{numbers}: {planner.features} at the first of {len(architecture.stages)} stages, "
        f"doubled from stage to stage up to a maximum"
    )


def _x(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
