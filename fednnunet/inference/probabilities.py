"""Probabilities of all classes on the native grid, on disk: there may be more than memory holds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from fednnunet.inference.native import Block, NativeGrid


class Probabilities:
    """Writes softmax, or with `regions` sigmoid, into `out` (k, z, y, x), float16.

    `out` is of the native crop, axes in the plan's order. The sum over all classes is found first,
    one class at a time, and the classes are resampled again for their shares of it.
    """

    def __init__(self, grid: NativeGrid, out: np.ndarray, *, regions: bool) -> None:
        self._grid, self._out, self._regions = grid, out, regions

    def write(self, block: Block) -> None:
        """Write the planes and rows of a block."""
        width = slice(0, self._grid.x.new)

        def logits(index: int) -> torch.Tensor:
            return self._grid.values(block, [index], block.rows, width)[0]

        outputs = len(self._out)
        total = None
        if not self._regions:
            total = logits(0).clone()
            for index in range(1, outputs):
                total = torch.logaddexp(total, logits(index))
        for index in range(outputs):
            p = logits(index).sigmoid() if total is None else (logits(index) - total).exp()
            self._out[index, block.out, block.rows] = p.half().cpu().numpy()


def on_disk(shape: tuple[int, ...], folder: Path) -> np.ndarray:
    """Float16 zeros in a file of `folder` that has no name, and is gone with the array."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as stream:
        return np.memmap(stream, np.float16, "w+", shape=shape)
