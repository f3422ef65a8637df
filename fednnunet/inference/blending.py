"""Tiles of logits blended into a volume, on the GPU where its memory holds the sums."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch

from fednnunet.device import Device

_SHARE = 0.5  # of a GPU's free memory, that the sums may take; tiles need the rest

Tile = tuple[slice, ...]


class Blend:
    """Weighted sums of logits (k, z, y, x) and of the weights, float32.

    They lie on `device` if that is a GPU with room for them, else on the CPU: to bring every tile
    of a CT there takes longer than the network does. Both give the same sums.
    """

    def __init__(self, grid: Sequence[int], weight: np.ndarray, device: Device) -> None:
        self._grid, self._device = tuple(grid), device
        self._weight = torch.from_numpy(weight)
        self._total = torch.zeros(0)
        self._weights = torch.zeros(0)

    @property
    def place(self) -> torch.device:
        """Where the sums lie, once there is a first tile."""
        return self._total.device

    def add(self, group: Sequence[Tile], logits: torch.Tensor) -> None:
        """Add tiles' logits (b, k, *patch), float32; samples beyond the group's are left out."""
        if not self._total.numel():
            self._begin(logits.shape[1])
        for tile, values in zip(group, logits[: len(group)].to(self.place), strict=True):
            target = self._total[(slice(None), *tile)]
            target += (values * self._weight).reshape(target.shape)
            target = self._weights[tile]
            target += self._weight.reshape(target.shape)

    def mean(self, inner: Sequence[slice]) -> np.ndarray | None:
        """The blended logits (k, z, y, x) inside the box; `None` if they are not all finite."""
        self._total /= self._weights
        result = self._total[(slice(None), *inner)]
        return result.cpu().numpy() if bool(torch.isfinite(result).all()) else None

    def _begin(self, outputs: int) -> None:
        place = torch.device("cpu")
        if self._device.kind == "cuda":
            free, _ = torch.cuda.mem_get_info(self._device.torch_device)
            needed = 4 * (outputs + 1) * int(np.prod(self._grid))
            place = self._device.torch_device if needed < _SHARE * free else place
        with suppress(torch.OutOfMemoryError):
            self._allocate(outputs, place)
            return
        self._allocate(outputs, torch.device("cpu"))

    def _allocate(self, outputs: int, place: torch.device) -> None:
        self._total = torch.zeros((outputs, *self._grid), device=place)
        self._weights = torch.zeros(self._grid, device=place)
        self._weight = self._weight.to(place)
