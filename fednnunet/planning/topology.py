"""Strides, kernels and the patch size that fits them (rules E of nnU-Net v2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SMALLEST_EDGE = 4  # voxels of a feature map at the coarsest stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Strides and kernels per stage, and the patch padded to fit them."""

    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    patch_vox: tuple[int, ...]
    divisor: tuple[int, ...]
    remarks: tuple[str, ...] = ()


def plan_topology(spacing_mm: Sequence[float], patch_vox: Sequence[float]) -> Topology:
    """Pool axes of similar spacing together until the feature maps are as small as allowed.

    `spacing_mm` and `patch_vox` have one entry per axis (2 or 3). An axis at least twice as coarse
    as the finest one is not pooled, and its kernel is 1, until the others are as coarse.
    """
    axes = range(len(spacing_mm))
    spacing, size = list(spacing_mm), list(patch_vox)
    kernel = [1] * len(spacing)
    strides, kernels, remarks = [(1,) * len(spacing)], [], []
    while pooled := _poolable(spacing, size):
        kernel = [3 if kernel[a] == 3 or spacing[a] / min(spacing) < 2 else 1 for a in axes]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if a in pooled else 1 for a in axes))
        remarks.append(_remark(spacing, size, pooled, len(strides) - 1))
        for a in pooled:
            spacing[a] *= 2
            size[a] = math.ceil(size[a] / 2)
    kernels.append((3,) * len(spacing))
    divisor = tuple(math.prod(step) for step in zip(*strides, strict=True))
    padded = tuple(math.ceil(p / d) * d for p, d in zip(patch_vox, divisor, strict=True))
    return Topology(
        strides=tuple(strides),
        kernels=tuple(kernels),
        patch_vox=padded,
        divisor=divisor,
        remarks=tuple(remarks),
    )


def _poolable(spacing: list[float], size: list[float]) -> list[int]:
    """The axes to halve next; empty when pooling ends."""
    large = [a for a in range(len(size)) if size[a] >= 2 * SMALLEST_EDGE]
    if not large:
        return []
    finest = min(spacing[a] for a in large)
    axes = [a for a in large if spacing[a] / finest < 2]
    if len(axes) == 1 and size[axes[0]] < 3 * SMALLEST_EDGE:
        return []
    return axes


def _remark(spacing: list[float], size: list[float], pooled: list[int], stage: int) -> str:
    names = "zyx"[-len(spacing) :]
    waiting = [a for a in range(len(spacing)) if a not in pooled]
    parts = [f"stage {stage} halves " + ", ".join(names[a] for a in pooled)]
    for a in waiting:
        if size[a] < 2 * SMALLEST_EDGE:
            parts.append(f"not {names[a]}, which has only {size[a]:g} voxels left")
        else:
            ratio = spacing[a] / min(spacing[b] for b in pooled)
            parts.append(f"not {names[a]}, which is {ratio:.3g} times as coarse as the finest")
    return ", ".join(parts)
