"""From logits at the plan's spacing to arrays on the image's own grid, a few planes at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fednnunet.inference.label_map import LabelMap
from fednnunet.inference.native import Block, NativeGrid
from fednnunet.inference.probabilities import Probabilities, on_disk
from fednnunet.inference.uncertainty import Entropy, Spread
from fednnunet.planning.plan import Resampling
from fednnunet.preprocess.pipeline import Placement, native_array
from fednnunet.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is made of the logits besides the mask."""

    entropy: bool = False
    spread: bool = False
    """Of the probabilities over networks and flips; needs at least two of them."""
    probabilities: Path | None = None
    """The folder for a temporary file of them."""
    prepared: bool = False
    """The labels on the prepared grid."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """Arrays of the whole native image as stored (z, y, x), 0 outside the crop."""

    placement: Placement
    mask: np.ndarray
    """Labels, uint8 or uint16."""
    entropy: np.ndarray | None = None
    """Float32, from 0 to 1; see `uncertainty.Entropy`."""
    spread: np.ndarray | None = None
    """Float32, from 0 to 0.5; see `Views`."""
    probabilities: np.ndarray | None = None
    """Float16 (k, z, y, x), in a temporary file."""
    prepared: np.ndarray | None = None
    """Labels (z, y, x) on the prepared grid, axes in the plan's order."""


class Writer(Protocol):
    """Makes one array of the logits, block by block."""

    def write(self, block: Block) -> None:
        """Write the planes and rows of a block."""


class Export:
    """Everything that is made of one volume's logits; with a spread, it is their last channel."""

    def __init__(
        self,
        placement: Placement,
        task: Task,
        resampling: Resampling,
        wanted: Wanted,
    ) -> None:
        self.grid = NativeGrid.of(placement, resampling)
        small = np.uint8 if max(len(task.labels) - 1, 0) <= 255 else np.uint16
        outputs, regions = task.heads, bool(task.regions)
        mask, view = native_array(placement, small)
        self._writers: list[Writer] = [LabelMap(self.grid, task, view)]
        entropy = spread = probabilities = prepared = None
        if wanted.entropy:
            entropy, view = native_array(placement, np.float32)
            self._writers.append(Entropy(self.grid, view, outputs=outputs, regions=regions))
        if wanted.spread:
            spread, view = native_array(placement, np.float32)
            self._writers.append(Spread(self.grid, view, channel=outputs))
        if wanted.probabilities:
            place = wanted.probabilities
            probabilities, view = native_array(
                placement, np.float16, channels=outputs, make=lambda shape: on_disk(shape, place)
            )
            self._writers.append(Probabilities(self.grid, view, regions=regions))
        if wanted.prepared:
            prepared = np.zeros(placement.prepared_shape, small)
        self._prepared = _Unresampled(prepared, task) if prepared is not None else None
        self.predicted = Predicted(
            placement=placement,
            mask=mask,
            entropy=entropy,
            spread=spread,
            probabilities=probabilities,
            prepared=prepared,
        )

    def part(self, rows: slice) -> ExportPart:
        """What takes the logits of the prepared rows that the native `rows` need."""
        return ExportPart(self.grid, self._writers, self._prepared, rows)


class ExportPart:
    """Takes planes of logits for a range of native rows, and writes what can be made of them."""

    def __init__(
        self,
        grid: NativeGrid,
        writers: Sequence[Writer],
        prepared: _Unresampled | None,
        rows: slice,
    ) -> None:
        self._grid, self._writers, self._rows = grid, writers, rows
        self._prepared = prepared
        self._chunks = list(grid.chunks())
        self.first_row = grid.rows_into(rows).start

    def __call__(self, first: int, planes: Tensor) -> int:
        """Write what the planes (k, n, rows, x) from `first` on suffice for.

        Returns the first plane that is needed again.
        """
        stop = first + planes.shape[1]
        if self._prepared is not None:
            self._prepared.write(first, self.first_row, planes)
        while self._chunks and self._chunks[0][1].stop <= stop:
            out, into = self._chunks.pop(0)
            part = planes[:, into.start - first : into.stop - first]
            block = Block(planes=part, out=out, rows=self._rows, first_row=self.first_row)
            for writer in self._writers:
                writer.write(block)
        return min(self._chunks[0][1].start, stop) if self._chunks else stop


class _Unresampled:
    """Writes labels of the prepared grid into `out` (z, y, x)."""

    def __init__(self, out: np.ndarray, task: Task) -> None:
        self._out, self._task = out, task

    def write(self, first: int, first_row: int, planes: Tensor) -> None:
        depth, height, width = planes.shape[1:]
        grid = NativeGrid.unchanged((depth, height, width))
        view = self._out[first : first + depth, first_row : first_row + height]
        block = Block(planes=planes, out=slice(0, depth), rows=slice(0, height), first_row=0)
        LabelMap(grid, self._task, view).write(block)


def export_logits(
    logits: np.ndarray,
    placement: Placement,
    task: Task,
    resampling: Resampling,
    wanted: Wanted | None = None,
) -> Predicted:
    """What is made of all logits (k, z, y, x) of a prepared volume, float32, at once."""
    export = Export(placement, task, resampling, wanted or Wanted())
    export.part(slice(0, placement.cropped_shape[1]))(0, torch.from_numpy(logits))
    return export.predicted
