"""Where a network is evaluated: the device, and the number of tiles per batch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch

from fednnunet.device import Device, Machine, choose_device, observe
from fednnunet.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The device and the number of tiles per batch.

    With `full` the last group of a volume is filled up to as many `tiles`, so that the device meets
    one size only. Logits are summed in float32, whatever the device and its precision.
    """

    device: Device = field(default_factory=Device)
    tiles: int = 1
    full: bool = False

    def place(self, network: torch.nn.Module, axes: int) -> torch.nn.Module:
        """Move a network with `axes` spatial axes to the device, in its fastest memory layout."""
        layout = self.device.memory_format(axes)
        placed = cast(Any, network.to(self.device.torch_device)).to(memory_format=layout)
        return cast(torch.nn.Module, placed).eval()

    def smaller(self, tiles: int) -> Compute:
        """Settings with fewer tiles, if `tiles` at once do not fit into the device's memory.

        Raises DataError if not even a single tile fits.
        """
        if self.device.kind == "cuda":
            torch.cuda.empty_cache()
        if tiles <= 1:
            raise no_room(self.device)
        return replace(self, tiles=tiles // 2)


def choose_compute(device: str = "auto", *, machine: Machine | None = None) -> Compute:
    """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises InputError for a device that is unknown or not available. `machine` replaces the real
    machine in tests.
    """
    chosen = choose_device(device, machine or observe(), gradients=False)
    cuda = chosen.kind == "cuda"
    return Compute(device=chosen, tiles=4 if cuda else 1, full=cuda)


def no_room(device: Device) -> DataError:
    """The error if the device's memory is too small for the network with a single tile."""
    return DataError(
        f"the memory of device {device.name} does not hold the network on a single tile",
        mend="predict with --device cpu, or end other programs that use the GPU",
    )
