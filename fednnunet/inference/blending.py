"""Tiles of logits blended plane by plane: sums of a few planes at a time, on the GPU if they fit.

Every operation works on each voxel alone, and tiles are added in a fixed order. The result is
therefore the same, bit for bit, whatever part of a volume is blended at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from fednnunet.device import Device
from fednnunet.inference.tiles import PEAK, Tile, Tiling, gaussian

_SHARE = 0.5  # of a GPU's free memory, that the sums may take; tiles need the rest
_AT_ONCE = 1 << 23  # logits of a tile, that are added at once


class Blend:
    """Weighted sums of logits (k, z, y, x), float32, over some planes and the given rows.

    They lie on `device` if that is a GPU with room for them, else on the CPU: to bring every tile
    of a CT there takes longer than the network does. Both give the same sums. `spare` is the number
    of planes, beyond those of a patch, for which memory is reserved at the beginning.
    """

    def __init__(self, tiling: Tiling, rows: slice, device: Device, *, spare: int = 0) -> None:
        self._tiling, self._rows, self._device = tiling, rows, device
        self._depth = min(tiling.grid[0], tiling.patch[0] + spare)
        self._weight = torch.from_numpy(gaussian(tiling.patch))
        self._plane = torch.zeros(0)
        self._total = torch.zeros(0)
        self._start = self._ready = 0  # first plane that is held, first that is not final

    @property
    def place(self) -> torch.device:
        """Where the sums lie, once there is a first tile."""
        return self._total.device

    def add(self, group: Sequence[Tile], logits: Tensor) -> None:
        """Add tiles' logits (b, k, *patch), float32; samples beyond the group's are left out."""
        self._reserve(group[-1][0].stop, logits.shape[1])
        for (z, y, x), values in zip(group, logits[: len(group)].to(self.place), strict=True):
            low, high = max(y.start, self._rows.start), min(y.stop, self._rows.stop)
            inside = slice(low - y.start, high - y.start)
            rows = slice(low - self._rows.start, high - self._rows.start)
            whole = values.reshape(len(values), *self._tiling.patch)[:, :, inside]
            step = max(1, _AT_ONCE // max(whole[:, 0].numel(), 1))
            for plane in range(0, whole.shape[1], step):
                part = _channels_first(whole[:, plane : plane + step])
                part = part * self._weight[plane : plane + step, inside]
                first = z.start - self._start + plane
                self._total[:, first : first + part.shape[1], rows, x] += part

    def final(self, stop: int) -> tuple[int, Tensor]:
        """The first plane that is held, and the blended logits (k, n, rows, x) from it to `stop`.

        All tiles that reach into these planes have been added. The tensor is a view, which holds
        until more is added or dropped.
        """
        along_z = torch.from_numpy(PEAK * self._tiling.total_weight(0)).float()
        for plane in range(self._ready, stop):
            self._total[:, plane - self._start] /= self._plane * along_z[plane]
        self._ready = stop
        return self._start, self._total[:, : stop - self._start]

    def drop(self, before: int) -> None:
        """Forget the planes before this one, so that there is room for later ones."""
        by = before - self._start
        if by <= 0:
            return
        kept = self._total.shape[1] - by
        for channel in self._total:
            if kept > 0:
                channel[:kept] = channel[by:].clone()
            channel[max(kept, 0) :] = 0
        self._start = before

    def _reserve(self, stop: int, outputs: int) -> None:
        """Make room for the planes up to `stop`."""
        depth = stop - self._start
        if not self._total.numel():
            self._begin(outputs, max(depth, self._depth))
        elif depth > self._total.shape[1]:
            more = torch.zeros(
                (outputs, depth - self._total.shape[1], *self._total.shape[2:]), device=self.place
            )
            self._total = torch.cat([self._total, more], dim=1)

    def _begin(self, outputs: int, depth: int) -> None:
        shape = (outputs, depth, self._rows.stop - self._rows.start, self._tiling.grid[2])
        place = torch.device("cpu")
        if self._device.kind == "cuda":
            free, _ = torch.cuda.mem_get_info(self._device.torch_device)
            place = self._device.torch_device if 4 * np.prod(shape) < _SHARE * free else place
        with suppress(torch.OutOfMemoryError):
            self._allocate(shape, place)
            return
        self._allocate(shape, torch.device("cpu"))

    def _allocate(self, shape: tuple[int, ...], place: torch.device) -> None:
        self._total = torch.zeros(shape, device=place)
        rows, columns = self._tiling.total_weight(1)[self._rows], self._tiling.total_weight(2)
        self._plane = torch.from_numpy(np.outer(rows, columns)).float().to(place)
        self._weight = self._weight.to(place)


def _channels_first(logits: Tensor) -> Tensor:
    """Logits (k, z, y, x) in this order in memory; torch copies matrices faster than volumes."""
    if logits.is_contiguous():
        return logits
    channels, *voxels = logits.shape
    matrix = logits.movedim(0, -1).reshape(-1, channels).t()
    return torch.empty(matrix.shape, device=logits.device).copy_(matrix).view(channels, *voxels)
