"""How training uses a device: loss scaling, batches, GPUs, compiling; decided in one function."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from fednnunet.device import Device, Machine, choose_device, observe

# Time of an iteration with torch.compile to that without it, hippocampus, torch 2.13: 1.11 in
# float32 (planner `cpu`, one thread, four runs of five), 1.27 in bfloat16 (plain, batch 7, two
# cores, three runs of five). What it would have to beat is in `network.cpu` and `network.merged`.
_COMPILED_ON_CPU = "1.1 to 1.3"

# A core augments some 50 to 100 patches a second, and a large GPU trains on more than eight make.
_MAX_WORKERS = 16


CudaKernels = Literal["torch", "fused"]
"""torch's own kernels, or the fused ones of `network.cuda` replayed as CUDA graphs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a network is trained on a device.

    `scaler` scales the loss against underflow of float16. `micro_batch` bounds the samples that go
    through the network at once (`None`: the whole batch); gradients are accumulated. That computes
    the whole batch's step unless the task has an ignore label (cross-entropy is then a mean over
    the annotated voxels of each part, and parts count by their samples), Dice is taken over the
    batch, or normalisation is. `workers` is the number of processes that make batches (0: this
    one). `devices` GPUs share a batch through `backend`. `fused` uses torch's one-kernel
    optimisers. On CUDA, `graphs` lets the network be replayed as CUDA graphs and `fused_norm` uses
    the kernels of `network.cuda`. `reasons` say why, for the log.
    """

    device: Device
    scaler: bool = False
    pin: bool = False
    compile: bool = False
    fused: bool = True
    graphs: bool = False
    fused_norm: bool = False
    micro_batch: int | None = None
    workers: int = 0
    devices: int = 1
    backend: Literal["gloo", "nccl"] = "gloo"
    reasons: tuple[str, ...] = ()

    @property
    def torch_device(self) -> torch.device:
        """The device as torch's own type."""
        return self.device.torch_device


def choose_execution(
    device: torch.device | str | None = None,
    *,
    machine: Machine | None = None,
    compile: bool = False,
    micro_batch: int | None = None,
    cuda_kernels: CudaKernels = "torch",
) -> Execution:
    """Decide how to train on `device` ("auto" or None: the GPU if there is one, else the CPU).

    Raises InputError for a device that is not there. `machine` stands in for the real one in tests.
    """
    machine = machine or observe()
    name = "auto" if device is None else str(device)
    chosen = choose_device(name, machine, gradients=True)
    if chosen.kind == "cuda":
        execution = _on_cuda(chosen, machine, cuda_kernels)
        return replace(execution, compile=compile, micro_batch=micro_batch)
    return Execution(
        device=chosen,
        compile=compile,
        micro_batch=micro_batch,
        fused=chosen.kind == "cpu",
        reasons=(chosen.reason, "batches made in this process: the cores serve the network"),
    )


def _on_cuda(device: Device, machine: Machine, kernels: CudaKernels) -> Execution:
    """Every GPU where none is named by its number.

    torch's own normalisation is faster in channels first, the fused one in channels last.
    """
    devices = machine.cuda_devices if device.name == "cuda" else 1
    gpus = f"{devices} GPU{'s' if devices > 1 else ''}, batches made in processes"
    fused = kernels == "fused"
    return Execution(
        device=replace(device, channels_last=fused),
        scaler=device.precision == "float16",
        pin=True,
        graphs=fused,
        fused_norm=fused,
        workers=min(_MAX_WORKERS, max(1, machine.cores - 1)),
        devices=devices,
        backend="nccl",
        reasons=(device.reason, gpus),
    )


def for_batch(execution: Execution, batch: int) -> Execution:
    """The same execution with at most one device a sample of the batch, and why, in `reasons`."""
    if execution.devices <= batch:
        return execution
    samples = "1 sample" if batch == 1 else f"{batch} samples"
    reason = f"{batch} of {execution.devices} GPUs: the plan's batch has {samples}"
    return replace(execution, devices=batch, reasons=(*execution.reasons, reason))


def compile_verdict(device: Device, *, iterations: int, first: float, later: float) -> str:
    """Whether torch.compile pays back over a training of so many iterations, in words.

    `first` and `later` are the seconds of the first iteration, which compiles, and of one after it.
    A process compiles once, whatever the number of rounds and sites in it.
    """
    cost = max(first - later, 0.0)
    if device.kind == "cpu":
        return (
            f"torch.compile would not pay back: an iteration takes {_COMPILED_ON_CPU} times as "
            f"long with it on a CPU, and compiling took {cost:.0f} s"
        )
    needed = cost / max(iterations, 1)
    verdict = "pays back" if needed < later / 2 else "would not pay back"
    return (
        f"torch.compile {verdict}: compiling took {cost:.0f} s, which is {needed:.3f} s an "
        f"iteration over {iterations}, of {later:.3f} s"
    )
