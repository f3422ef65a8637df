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

_START_VOXELS = {2: 2048, 3: 256}  # edge of the square or cube that the first patch is as large as


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBudget:
    """What a plan is made with: planner, memory for the patch and for the batch, outputs."""

    planner: Planner
    patch_gib: float
    batch_gib: float
    outputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A patch with its network and batch, and why."""

    spacing_mm: tuple[float, ...]
    patch_vox: tuple[int, ...]
    batch: int
    architecture: Architecture
    reasons: tuple[Reason, ...]


def size_configuration(
    means: MemoryBudget,
    spacing_mm: Sequence[float],
    median_vox: Sequence[float],
    dataset_voxels: float,
) -> Sized:
    """Choose patch, network and batch. Raises PlanError if no patch is possible.

    `spacing_mm` and `median_vox` per axis (2 or 3), `dataset_voxels` summed over all cases.
    """
    start = first_patch(spacing_mm, median_vox)
    topology = plan_topology(spacing_mm, start)
    topology = _cut_padding(topology, spacing_mm, median_vox, means.planner.most_padding)
    architecture = means.planner.architecture(topology)
    need = estimate_elements(architecture, topology.patch_vox, means.outputs)
    budget = means.planner.budget(is_2d=len(spacing_mm) == 2)
    limit = budget.at(means.patch_gib)
    room = limit * budget.batch / 2 if means.planner.shrink_to_two else limit
    first, steps = topology.patch_vox, 0
    while need > room:
        topology = _shrink(topology, spacing_mm, median_vox)
        architecture = means.planner.architecture(topology)
        need = estimate_elements(architecture, topology.patch_vox, means.outputs)
        steps += 1
    batch, why = _batch(means, need, dataset_voxels, topology.patch_vox)
    start_text, shape = " x ".join(f"{v:g}" for v in start), _x(topology.patch_vox)
    patch_why = (
        f"starts at {start_text} voxels, in proportion to 1 / spacing and as many as "
        f"{_START_VOXELS[len(start)]}^{len(start)}, but no axis longer than the median shape "
        f"{_x(median_vox)}; brought to {_x(first)} to be divisible by the strides"
    )
    if steps:
        patch_why += (
            f"; {steps} times the axis longest against the median was shortened, until one sample "
            f"takes no more than {room / 1e6:.0f} million elements"
        )
    patch_why += f": {shape} voxels, {need / 1e6:.1f} million elements a sample"
    reasons = (
        Reason(decision="patch", because=patch_why),
        Reason(decision="strides and kernels", because=_pooling(topology)),
        Reason(decision="features", because=_features(means.planner, architecture)),
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
    """The patch before it is fitted to a network: by aspect, never longer than the median shape."""
    axes = len(spacing_mm)
    inverse = 1 / np.array(spacing_mm)
    scaled = inverse * (_START_VOXELS[axes] ** axes / np.prod(inverse)) ** (1 / axes)
    return [min(round(edge), most) for edge, most in zip(scaled.tolist(), median_vox, strict=True)]


def _cut_padding(
    topology: Topology,
    spacing_mm: Sequence[float],
    median_vox: Sequence[float],
    most_padding: float | None,
) -> Topology:
    """Shorten axes on which divisibility would pad the median case by more than a share of it."""
    if most_padding is None:
        return topology
    patch = []
    for edge, step, median in zip(topology.patch_vox, topology.divisor, median_vox, strict=True):
        too_long = edge > median * (1 + most_padding) and edge > step
        patch.append(edge - step if too_long else edge)
    return plan_topology(spacing_mm, patch)


def _shrink(
    topology: Topology, spacing_mm: Sequence[float], median_vox: Sequence[float]
) -> Topology:
    """Shorten the axis that is longest against the median shape (the last of equals).

    By the divisor that the shortened patch would have, so that no valid length is skipped.
    """
    patch, divisor = list(topology.patch_vox), topology.divisor
    ratios = [edge / median for edge, median in zip(patch, median_vox, strict=True)]
    axis = max(range(len(patch)), key=lambda a: (ratios[a], a))
    trial = patch.copy()
    trial[axis] -= divisor[axis]
    patch[axis] -= plan_topology(spacing_mm, trial).divisor[axis]
    if patch[axis] < 1:
        raise PlanError(
            "no patch fits into the memory", mend="give a larger memory_gib, or another planner"
        )
    return plan_topology(spacing_mm, patch)


def _batch(
    means: MemoryBudget, need: int, dataset_voxels: float, patch_vox: Sequence[int]
) -> tuple[int, str]:
    planner, is_2d = means.planner, len(patch_vox) == 2
    budget = planner.budget(is_2d=is_2d)
    fits = round(budget.at(means.batch_gib) / need * budget.batch)
    cap = round(dataset_voxels * planner.dataset_share / math.prod(patch_vox))
    most = planner.largest_batch_2d if is_2d else planner.largest_batch_3d
    batch = max(min(fits, cap, most or fits), 2)
    why = (
        f"{fits} samples fit into {means.batch_gib:g} GiB; {planner.dataset_share:.0%} of the "
        f"cases' {dataset_voxels:.4g} voxels are {cap} patches"
    )
    if most:
        why += f"; this planner takes at most {most}"
    return batch, f"{why}; the least of these, and at least 2: {batch}"


def _pooling(topology: Topology) -> str:
    rule = (
        "axes within a factor 2 of the finest spacing are halved together while they have 8 voxels "
        "(12 if alone); the kernel of an axis is 1 until it is within a factor 2 of the finest"
    )
    return "; ".join([rule, *topology.remarks])


def _features(planner: Planner, architecture: Architecture) -> str:
    numbers = ", ".join(str(stage.features) for stage in architecture.stages)
    return (
        f"{planner.features}, doubled at each of the {len(architecture.stages)} stages: {numbers}"
    )


def _x(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
