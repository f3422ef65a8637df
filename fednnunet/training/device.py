"""Where and in what precision to compute: decided in one function, from facts about the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from fednnunet.errors import InputError

Precision = Literal["float32", "bfloat16", "float16"]

_COMPILE_SECONDS = 90.0  # what torch.compile takes for a training step on two cores
_COMPILE_GAIN = 0.15  # of an iteration's time; both are guesses, not measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is to compute with."""

    cuda_devices: int = 0
    cuda_bfloat16: bool = False
    cpu_bfloat16: bool = False
    cores: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a network runs on a device.

    `scaler` scales the loss against underflow of float16. `micro_batch` bounds the samples that go
    through the network at once (`None`: the whole batch); gradients are accumulated. `workers` is
    the number of processes that make batches (0: this one). `devices` GPUs share a batch through
    `backend`. `fused` uses torch's one-kernel optimisers. `reasons` say why, for the log.
    """

    device: str
    precision: Precision = "float32"
    scaler: bool = False
    channels_last: bool = True
    pin: bool = False
    compile: bool = False
    fused: bool = True
    micro_batch: int | None = None
    workers: int = 0
    devices: int = 1
    backend: Literal["gloo", "nccl"] = "gloo"
    reasons: tuple[str, ...] = ()

    @property
    def torch_device(self) -> torch.device:
        """The device as torch's own type."""
        return torch.device(self.device)

    @property
    def dtype(self) -> torch.dtype:
        """The number format of convolutions."""
        return {
            "float32": torch.float32,
            "bfloat16": torch.bfloat16,
            "float16": torch.float16,
        }[self.precision]

    def autocast(self) -> torch.autocast:
        """Context in which the network runs in the chosen precision."""
        kind = self.torch_device.type
        enabled = self.precision != "float32"
        return torch.autocast("cpu" if kind == "meta" else kind, dtype=self.dtype, enabled=enabled)

    def memory_format(self, axes: int) -> torch.memory_format:
        """Order of voxels and channels in memory for `axes` spatial axes."""
        if not self.channels_last:
            return torch.contiguous_format
        return torch.channels_last_3d if axes == 3 else torch.channels_last


def observe() -> Machine:
    """Look at this machine."""
    cuda = torch.cuda.is_available()
    return Machine(
        cuda_devices=torch.cuda.device_count() if cuda else 0,
        cuda_bfloat16=cuda and torch.cuda.is_bf16_supported(including_emulation=False),
        cpu_bfloat16=cpu_has_bfloat16(),
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


def choose_execution(
    device: torch.device | str | None = None,
    *,
    machine: Machine | None = None,
    compile: bool = False,
    micro_batch: int | None = None,
) -> Execution:
    """Decide how to run on `device` ("auto" or None: the GPU if there is one, else the CPU).

    Raises InputError for a GPU that is not there. `machine` stands in for the real one in tests.
    """
    machine = machine or observe()
    name = "auto" if device is None else str(device)
    if name == "auto":
        name = "cuda" if machine.cuda_devices else "cpu"
    kind = name.split(":", 1)[0]
    if kind == "cuda":
        return _on_cuda(name, machine, compile, micro_batch)
    if kind in ("cpu", "meta"):
        return _on_cpu(name, machine, compile, micro_batch)
    raise InputError(f"device {name!r} is not supported", mend="use auto, cpu, cuda or cuda:0")


def _on_cuda(name: str, machine: Machine, compile: bool, micro_batch: int | None) -> Execution:
    if not machine.cuda_devices:
        raise InputError(f"device {name!r}: torch finds no GPU", mend="use cpu, or mend the driver")
    bfloat16 = machine.cuda_bfloat16
    reason = (
        "bfloat16: the GPU computes it, and it needs no loss scaling"
        if bfloat16
        else "float16 with loss scaling: the GPU has no bfloat16"
    )
    devices = machine.cuda_devices if name == "cuda" else 1
    return Execution(
        device=name,
        precision="bfloat16" if bfloat16 else "float16",
        scaler=not bfloat16,
        pin=True,
        compile=compile,
        micro_batch=micro_batch,
        workers=min(8, max(1, machine.cores - 1)),
        devices=devices,
        backend="nccl",
        reasons=(reason, f"{devices} GPU{'s' if devices > 1 else ''}, batches made in processes"),
    )


def _on_cpu(name: str, machine: Machine, compile: bool, micro_batch: int | None) -> Execution:
    bfloat16 = machine.cpu_bfloat16 and name == "cpu"
    reason = (
        "bfloat16: the CPU multiplies it (AVX512-BF16 or AMX)"
        if bfloat16
        else "float32: the CPU has neither AVX512-BF16 nor AMX, so bfloat16 would be emulated"
    )
    return Execution(
        device=name,
        precision="bfloat16" if bfloat16 else "float32",
        compile=compile,
        micro_batch=micro_batch,
        fused=name == "cpu",
        reasons=(reason, "batches made in this process: the cores are busy with the network"),
    )


def compile_verdict(iterations: int, seconds_per_iteration: float) -> str:
    """Whether torch.compile pays back over the iterations that are left, in words."""
    saved = iterations * seconds_per_iteration * _COMPILE_GAIN
    if saved > _COMPILE_SECONDS:
        return f"torch.compile pays back: about {saved:.0f} s saved for {_COMPILE_SECONDS:.0f} s"
    return (
        f"torch.compile would not pay back: about {saved:.0f} s saved over {iterations} "
        f"iterations, for {_COMPILE_SECONDS:.0f} s of compiling"
    )
