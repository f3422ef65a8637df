"""Where and how a network is evaluated."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from fednnunet.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The device, the precision of convolutions there, and how many tiles it takes at once.

    Accumulation is always float32 on the CPU, whatever the precision.
    """

    device: torch.device
    precision: torch.dtype = torch.float32
    channels_last: bool = False
    tiles: int = 1

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which the network runs."""
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, dtype=self.precision, enabled=enabled)

    def place(self, network: torch.nn.Module, axes: int) -> torch.nn.Module:
        """Move a network of that many spatial axes here, in the memory layout that is fast."""
        network = network.to(self.device)
        if self.channels_last:
            layout = torch.channels_last_3d if axes == 3 else torch.channels_last
            network = network.to(memory_format=layout)  # type: ignore[call-overload]
        return network.eval()


def choose_compute(device: str = "auto") -> Compute:
    """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`.

    CUDA runs float16 convolutions, everything else float32. Raises InputError for a device that
    is unknown or not there.
    """
    name = device
    if device == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError):
        there = ["auto", "cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise InputError(
            f"there is no device {device!r} here", mend=f"choose one of: {', '.join(there)}"
        ) from None
    if chosen.type == "cuda":
        return Compute(device=chosen, precision=torch.float16, tiles=4)
    return Compute(device=chosen, channels_last=chosen.type == "cpu")
