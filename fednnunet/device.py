"""Where and in what number format a network computes: decided in one function, from facts.

Training and prediction both ask here. Nothing here needs the device that is chosen, so that the
choices for machines that are not at hand are tested as values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from fednnunet.errors import InputError

Precision = Literal["float32", "bfloat16", "float16"]

_NAMES = re.compile(r"auto|cpu|meta|mps|cuda(:\d+)?")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is to compute with."""

    cuda_devices: int = 0
    cuda_bfloat16: bool = False
    cpu_bfloat16: bool = False
    mps: bool = False
    cores: int = 1

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices that may be asked for."""
        cuda = ("cuda", *(f"cuda:{i}" for i in range(self.cuda_devices)))
        return ("auto", "cpu", *(cuda if self.cuda_devices else ()), *(["mps"] if self.mps else []))


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device by torch's name, the number format of convolutions there, and the memory layout.

    Sums, normalisation and losses are float32 in every format. `reason` says why, for the log.
    """

    name: str = "cpu"
    precision: Precision = "float32"
    channels_last: bool = True
    reason: str = ""

    @property
    def torch_device(self) -> torch.device:
        """The device as torch's own type."""
        return torch.device(self.name)

    @property
    def kind(self) -> str:
        """`cpu`, `cuda`, `mps` or `meta`, without a number."""
        return self.name.split(":", 1)[0]

    @property
    def dtype(self) -> torch.dtype:
        """The number format as torch's own type."""
        return _DTYPES[self.precision]

    def autocast(self) -> torch.autocast:
        """Context in which a network runs in the chosen precision."""
        kind = "cpu" if self.kind == "meta" else self.kind
        return torch.autocast(kind, dtype=self.dtype, enabled=self.precision != "float32")

    @contextmanager
    def tuned(self) -> Iterator[None]:
        """Context in which cuDNN tries its algorithms on the first sizes and keeps the fastest.

        Not where torch is told to be deterministic, since it is the clock that chooses.
        """
        before = torch.backends.cudnn.benchmark
        steady = torch.are_deterministic_algorithms_enabled()
        torch.backends.cudnn.benchmark = self.kind == "cuda" and not steady
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = before

    def memory_format(self, axes: int) -> torch.memory_format:
        """Order of voxels and channels in memory for `axes` spatial axes."""
        if not self.channels_last:
            return torch.contiguous_format
        return torch.channels_last_3d if axes == 3 else torch.channels_last

    def arrange(self, image: torch.Tensor) -> torch.Tensor:
        """An image (b, c, z, y, x) in this memory layout; in 2D without z.

        Of a single channel both layouts look alike, and a GPU's convolution then takes the wrong
        one; the strides returned leave no doubt.
        """
        image = image.contiguous(memory_format=self.memory_format(image.ndim - 2))
        if image.shape[1] > 1 or not (self.channels_last and self.kind == "cuda"):
            return image
        b, _, *voxels = image.stride()
        return image.as_strided(image.shape, (b, 1, *voxels))


def observe() -> Machine:
    """Look at this machine."""
    cuda = torch.cuda.is_available()
    return Machine(
        cuda_devices=torch.cuda.device_count() if cuda else 0,
        cuda_bfloat16=cuda and torch.cuda.is_bf16_supported(including_emulation=False),
        cpu_bfloat16=cpu_has_bfloat16(),
        mps=torch.backends.mps.is_available(),
        cores=os.cpu_count() or 1,
    )


def cpu_has_bfloat16(info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies bfloat16 itself (AVX512-BF16 or AMX).

    Elsewhere torch emulates it, which was measured to be fifty times slower than float32.
    """
    try:
        flags = info.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def check_name(name: str) -> None:
    """Raise InputError for a name that no machine's device has."""
    if not _NAMES.fullmatch(name):
        guess = " (did you mean cuda?)" if name.lower() in ("gpu", "nvidia") else ""
        raise InputError(
            f"there is no device {name!r}{guess}",
            mend="choose auto, cpu, cuda, cuda:1 (the second GPU) or mps",
        )


def choose_device(name: str, machine: Machine, *, gradients: bool) -> Device:
    """The device of that name ("auto": the GPU if there is one, else the CPU) and its precision.

    `gradients` tells training from prediction, which needs no range for small gradients: there a
    GPU takes float16, the finer of the two short formats, and a CPU float32, so that masks do not
    depend on the CPU's make. Raises InputError for a device that is unknown or not there.
    """
    check_name(name)
    if gradients and name == "mps":
        raise InputError(f"device {name!r} is not supported", mend=_choose_from(machine))
    if name == "auto":
        name = "cuda" if machine.cuda_devices else "cpu"
    if name not in (*machine.devices, "meta"):
        raise InputError(
            f"device {name!r}: torch finds no such device here", mend=_choose_from(machine)
        )
    if name.startswith("cuda"):
        return _on_cuda(name, machine.cuda_bfloat16, gradients)
    if name == "mps":
        return Device(name=name, channels_last=False, reason="float32, as on a CPU")
    return _on_cpu(name, machine.cpu_bfloat16, gradients)


def _choose_from(machine: Machine) -> str:
    return f"choose one of: {', '.join(machine.devices)}"


def _on_cuda(name: str, bfloat16: bool, gradients: bool) -> Device:
    if not gradients:
        return Device(name=name, precision="float16", reason="float16: there are no gradients")
    if bfloat16:
        reason = "bfloat16: the GPU computes it, and it needs no loss scaling"
        return Device(name=name, precision="bfloat16", reason=reason)
    reason = "float16 with loss scaling: the GPU has no bfloat16"
    return Device(name=name, precision="float16", reason=reason)


def _on_cpu(name: str, bfloat16: bool, gradients: bool) -> Device:
    if not gradients:
        return Device(name=name, reason="float32: masks are alike on every CPU")
    if bfloat16 and name == "cpu":
        reason = "bfloat16: the CPU multiplies it (AVX512-BF16 or AMX)"
        return Device(name=name, precision="bfloat16", reason=reason)
    reason = "float32: the CPU has neither AVX512-BF16 nor AMX, so bfloat16 would be emulated"
    return Device(name=name, reason=reason)
