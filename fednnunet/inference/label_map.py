"""Labels of the native grid from logits: the highest class, or all regions in their order.

Interpolation never exceeds the values that it is made from. In a small brick of the native grid,
classes whose highest logit is below the lowest one of another class can therefore not win. They
are left out, which leaves one class for most of a volume, and nothing to interpolate.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fednnunet.inference.native import Block, NativeGrid
from fednnunet.task import Task

_BRICK = (32, 64)  # native voxels (y, x) of a brick; along z it has those of a block
_ROUNDING = 1e-5  # relative; far above what float32 may add to an interpolated value


class LabelMap:
    """Writes labels into `out` (z, y, x), an array of the native crop in the plan's axis order."""

    def __init__(self, grid: NativeGrid, task: Task, out: np.ndarray) -> None:
        self._grid, self._out, self._heads = grid, out, task.heads
        self._values = region_values(task) if task.regions else None

    def write(self, block: Block) -> None:
        """Write the planes and rows of a block."""
        depth = block.out.stop - block.out.start
        height, width = block.rows.stop - block.rows.start, self._grid.x.new
        place = block.planes.device
        found = torch.zeros((depth, height, width), dtype=torch.int16, device=place)
        rows = _ranges(block.rows, _BRICK[0], whole=self._grid.whole)
        columns = _ranges(slice(0, width), _BRICK[1], whole=self._grid.whole)
        alive = self._alive(block, rows, columns)
        for i, y in enumerate(rows):
            for j, x in enumerate(columns):
                classes = np.flatnonzero(alive[:, i, j]).tolist()
                part = found[:, y.start - block.rows.start : y.stop - block.rows.start, x]
                if self._values is None and len(classes) == 1:
                    part.fill_(classes[0])
                elif classes:
                    self._decide(self._grid.values(block, classes, y, x), classes, part)
        self._out[block.out, block.rows] = found.cpu().numpy()

    def _decide(self, logits: Tensor, classes: list[int], part: Tensor) -> None:
        """The label of each voxel; of equal classes the lower one, of regions the last one."""
        if self._values is not None:
            for number, current in zip(classes, logits, strict=True):
                part.masked_fill_(current > 0, self._values[number])  # sigmoid above a half
            return
        best = logits[0]
        part.fill_(classes[0])
        for number, current in zip(classes[1:], logits[1:], strict=True):
            part.masked_fill_(current > best, number)
            best = torch.maximum(best, current)

    def _alive(self, block: Block, rows: list[slice], columns: list[slice]) -> np.ndarray:
        """Which classes may occur in each brick, bool (k, rows, columns)."""
        if self._grid.whole:
            return np.ones((self._heads, 1, 1), bool)
        low, high = block.planes[: self._heads].aminmax(dim=1)
        for axis, along, parts, first in (
            (1, self._grid.y, rows, block.first_row),
            (2, self._grid.x, columns, 0),
        ):
            spans = [(s.start - first, s.stop - s.start) for s in map(along.into, parts)]
            low = torch.stack([low.narrow(axis, *span).amin(axis) for span in spans], axis)
            high = torch.stack([high.narrow(axis, *span).amax(axis) for span in spans], axis)
        if self._values is not None:
            return (high > 0).cpu().numpy()
        floor = low.amax(dim=0)
        beaten = high + _ROUNDING * (1 + floor.abs() + high.abs()) < floor
        return (~beaten).cpu().numpy()


def region_values(task: Task) -> tuple[int, ...]:
    """The label value that each region writes into a label map.

    Regions are written in order and later ones overwrite earlier ones. Each writes the first of its
    values that is in no later region (whole tumour {1, 2, 3}, core {2, 3} and enhancing {3} write
    1, 2 and 3), or its first value if there is none.
    """
    regions = list(task.regions.values())
    values = []
    for i, region in enumerate(regions):
        later = {value for other in regions[i + 1 :] for value in other}
        own = [value for value in region if value not in later]
        values.append((own or list(region))[0])
    return tuple(values)


def _ranges(whole_range: slice, step: int, *, whole: bool) -> list[slice]:
    """A range in parts of `step` voxels, or as one."""
    if whole:
        return [whole_range]
    starts = range(whole_range.start, whole_range.stop, step)
    return [slice(s, min(s + step, whole_range.stop)) for s in starts]
