"""How much memory a prediction may use, and the parts of a volume that keep within it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from fednnunet import io
from fednnunet.dataset import Case
from fednnunet.errors import DataError, FedNNUNetError, InputError
from fednnunet.inference.export import Wanted
from fednnunet.inference.native import NativeGrid
from fednnunet.inference.sliding import Window
from fednnunet.planning.plan import Configuration
from fednnunet.preprocess.pipeline import Placement
from fednnunet.system import free_memory_bytes, used_memory_bytes

_AHEAD = 0.25  # of the memory, that cases may take which are read ahead
_MAPS = 6  # feature maps of the finest stage that a network has at once when it predicts
_FLOAT = 4  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The memory of this process in bytes that a prediction keeps within.

    The libraries, the network and the volumes count; what is left holds logits.
    """

    total: int
    stated: bool = False
    """Whether somebody stated it, instead of what was free."""

    @classmethod
    def of(cls, memory_gib: float) -> Memory:
        """As stated in GiB; 0 is what this machine has free now.

        Raises InputError for less than nothing.
        """
        if not 0 <= memory_gib < math.inf:
            raise InputError(
                f"memory_gib is {memory_gib:g}", mend="give a number above 0, or 0 for what is free"
            )
        if memory_gib:
            return cls(total=int(memory_gib * 2**30), stated=True)
        return cls(total=used_memory_bytes() + int(0.9 * free_memory_bytes()))

    @property
    def ahead(self) -> int:
        """Bytes that all cases together may take which are read ahead."""
        return int(self.total * _AHEAD)

    def left(self, reserved: int) -> int:
        """What is left for logits now, if `reserved` bytes are needed for something else."""
        return self.total - used_memory_bytes() - reserved

    def too_small(self, needed: int, left: int) -> DataError:
        """The error for a volume of which not even the smallest part fits."""
        more = (self.total + needed - left) / 2**30
        mend = (
            f"give --memory-gib {math.ceil(more * 10) / 10:g} or more"
            if self.stated
            else "end other programs, or predict on a machine with more memory"
        )
        return DataError(
            f"logits of this volume need {needed / 2**30:.1f} GiB at once, and of "
            f"{self.total / 2**30:.1f} GiB only {max(left, 0) / 2**30:.1f} GiB are left for them",
            mend=mend,
        )


def row_parts(
    grid: NativeGrid, window: Window, outputs: int, memory: int
) -> tuple[list[slice], int]:
    """Ranges of native rows whose logits fit into `memory` bytes one after the other, and how
    much the largest needs.

    Where the parts meet, tiles are computed twice. There are therefore as few as possible, and none
    has fewer rows than half a patch, even if it does not fit.
    """
    rows = grid.y.new
    smallest = max(1, min(rows, round(window.tiling.patch[1] / 2 * rows / grid.y.old)))
    at_most = 1 if grid.whole else max(1, rows // smallest)
    parts, need = [slice(0, rows)], 0
    for count in range(1, at_most + 1):
        edges = [round(rows * i / count) for i in range(count + 1)]
        parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
        need = max(_bytes(grid, window, outputs, part) for part in parts)
        if need <= memory:
            break
    return parts, need


def network_bytes(configuration: Configuration, outputs: int, tiles: int) -> int:
    """Roughly what a network needs for a batch of tiles, its logits included."""
    features = _MAPS * configuration.architecture.stages[0].features + 3 * outputs
    return _FLOAT * tiles * features * math.prod(configuration.patch_vox)


def native_bytes(placement: Placement, wanted: Wanted) -> int:
    """What the mask and everything else on the native grid need in memory."""
    each = 2 + _FLOAT * (wanted.entropy + wanted.spread)
    return each * math.prod(placement.native_shape)


def case_bytes(case: Case, configuration: Configuration) -> int:
    """Roughly what a case needs while it is read and prepared; 0 if its header cannot be read."""
    try:
        shape, spacing = io.read_header(case.images[0])
    except FedNNUNetError:
        return 0
    if len(shape) != len(spacing) or len(shape) != 3:
        return 0
    target = configuration.spacing_mm
    voxels = math.prod(shape)
    fine = math.prod(spacing[-len(target) :]) / math.prod(target)
    prepared = int(voxels * min(max(fine, 0.0), 1e3))
    return _FLOAT * (len(case.images) * (2 * voxels + prepared) + 2 * max(voxels, prepared))


def _bytes(grid: NativeGrid, window: Window, outputs: int, rows: slice) -> int:
    """Memory for the sums of some native rows, with what one step of resampling adds."""
    into = grid.rows_into(rows)
    tiling = window.tiling
    depth = min(tiling.grid[0], tiling.patch[0] + grid.spare)
    width = tiling.grid[2]
    plane = (into.stop - into.start) * width
    sums = outputs * depth * plane
    copied = depth * plane  # of one channel, when planes are dropped
    extremes = 2 * outputs * plane  # of every class, to see which may win
    return _FLOAT * (sums + 3 * copied + extremes)
