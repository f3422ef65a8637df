"""Bounds of a plan: of one that can be read at all, and of one that a site accepts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The largest numbers of a plan, but for the smallest batch and spacing."""

    stages: int
    """Stages of a network."""
    features: int
    """Feature channels of a stage."""
    convolutions: int
    """Convolutions, or residual blocks, of a stage in the encoder or in the decoder."""
    patch_edge_vox: int
    """Edge of a patch."""
    batch: int
    """Patches per optimiser step."""
    min_batch: int
    """Fewest patches per optimiser step."""
    spacing_mm: float
    """Edge of a voxel."""
    min_spacing_mm: float
    """Shortest edge of a voxel."""


READABLE = Bounds(
    stages=16,
    features=2048,
    convolutions=64,
    patch_edge_vox=4096,
    batch=8192,
    min_batch=1,
    spacing_mm=1e5,
    min_spacing_mm=0.0,
)
"""No file of a plan may exceed these; see `planning.plan`."""

ACCEPTED = Bounds(
    stages=10,
    features=1024,
    convolutions=12,
    patch_edge_vox=1024,
    batch=READABLE.batch,
    min_batch=2,
    spacing_mm=1000.0,
    min_spacing_mm=0.001,
)
"""What a site computes for somebody else; see `planning.limits`. The memory bounds the batch."""
