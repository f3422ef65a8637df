"""How fast training is on the device: beside the reference, in every form, and where time goes."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import torch
from check_cuda_bench import Bench, Cases, Timing, plain
from check_cuda_reference import Reference, reference
from check_cuda_report import Result
from torch.profiler import ProfilerActivity
from torch.profiler import profile as profiling
from torch.utils.flop_counter import FlopCounterMode

from fednnunet.training.initial import plan_network

WANTED, WANTED_COMPILED, MOST_WAITING = 1.3, 1.5, 0.05
PROFILED = 5  # iterations, so few that none is replayed: every kernel is seen


def speed(bench: Bench, result: Result) -> None:
    """The recipe nnunet on hippocampus beside the reference."""
    _beside_reference(bench, bench.small, result, bench.sizes.iterations)


def speed_large(bench: Bench, result: Result) -> None:
    """The recipe nnunet on CT-like volumes beside the reference."""
    _beside_reference(bench, bench.large, result, bench.sizes.large_iterations)


def speed_fast(bench: Bench, result: Result) -> None:
    """The recipe fast on its own plan, in both layouts."""
    for name, execution in _layouts(bench):
        timing = bench.train(bench.fast, "fast", execution=execution)
        result.rows.append(timing.row(name))
        if execution == bench.execution:
            result.check("waiting for data", timing.summary.wait_share, most=MOST_WAITING)


def compiled(bench: Bench, result: Result) -> None:
    """torch.compile on hippocampus."""
    _compiled(bench, bench.small, result, bench.sizes.iterations)


def compiled_large(bench: Bench, result: Result) -> None:
    """torch.compile on CT-like volumes."""
    _compiled(bench, bench.large, result, bench.sizes.large_iterations)


def profile(bench: Bench, result: Result) -> None:
    """The kernels that a step's time goes to, and how much of it the device is busy."""
    for name, cases in (("hippocampus", bench.small), ("large patches", bench.large)):
        bench.train(cases, iterations=PROFILED, warm_up=0)  # tunes and compiles
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.gpu else [])]
        with profiling(activities=kinds) as found:
            timing = bench.train(cases, iterations=PROFILED, warm_up=0)
        events = found.key_averages()
        key = "self_device_time_total" if bench.gpu else "self_cpu_time_total"
        chosen = [
            e for e in events if not bench.gpu or e.device_type != torch.autograd.DeviceType.CPU
        ]
        total = sum(getattr(event, key) for event in chosen)
        busy, launches = total / 1e6 / PROFILED, sum(event.count for event in chosen) / PROFILED
        result.notes.append(
            f"{name}: {launches:.0f} kernels an iteration, busy for {1e3 * busy:.1f} ms of "
            f"{1e3 * timing.middle:.1f} (while profiled)"
        )
        for event in sorted(chosen, key=lambda e: getattr(e, key), reverse=True)[:12]:
            share = getattr(event, key) / max(total, 1e-9)
            row: dict[str, Any] = {
                "training": name,
                "kernel": event.key[:90],
                "share": f"{share:.1%}",
            }
            result.rows.append(row | {"calls an iteration": event.count / PROFILED})


def _layouts(bench: Bench) -> tuple[tuple[str, Any], ...]:
    first = replace(bench.execution, device=plain(bench.execution.device))
    return ("ours, channels last", bench.execution), ("ours, channels first", first)


def _beside_reference(bench: Bench, cases: Cases, result: Result, iterations: int) -> None:
    theirs = reference(bench, cases, "bfloat16", iterations=iterations)
    stock = reference(bench, cases, "float16", iterations=iterations)
    result.rows += [theirs.row("bfloat16"), stock.row("float16, stock")]
    limits = _Limits(bench, cases)
    for name, execution in _layouts(bench):
        timing = bench.train(cases, execution=execution, iterations=iterations)
        result.rows.append(timing.row(name, theirs.seconds))
        if execution == bench.execution:
            _judge(result, timing, theirs, WANTED)
            result.check("waiting for data", timing.summary.wait_share, most=MOST_WAITING)
            result.notes.append(limits.share(timing))
    result.notes.append(_setting(cases, iterations, bench.execution.workers))


def _compiled(bench: Bench, cases: Cases, result: Result, iterations: int) -> None:
    theirs = reference(bench, cases, "bfloat16", iterations=iterations)
    result.rows.append(theirs.row("bfloat16, not compiled"))
    if not bench.gpu:  # compiling takes a minute on a CPU, and shows nothing here
        result.notes.append("not compiled on a CPU")
        return
    execution = replace(bench.execution, compile=True)
    timing = bench.train(cases, execution=execution, iterations=iterations)
    result.rows.append(timing.row("ours, torch.compile, channels last", theirs.seconds))
    _judge(result, timing, theirs, WANTED_COMPILED)
    result.notes += timing.summary.notes
    first = replace(execution, device=plain(execution.device))
    timing = bench.train(cases, execution=first, iterations=iterations)
    result.rows.append(timing.row("ours, torch.compile, channels first", theirs.seconds))
    timing = bench.train(cases, iterations=iterations, runner=_with_graphs)
    result.rows.append(timing.row("ours, torch.compile with CUDA graphs", theirs.seconds))
    both = reference(bench, cases, "bfloat16", iterations=iterations, compile=True)
    result.rows.append(
        both.row("bfloat16, compiled") | {"times the reference": theirs.seconds / both.seconds}
    )


def _with_graphs(network: torch.nn.Module) -> Any:
    return torch.compile(network, dynamic=False, mode="reduce-overhead")


def _judge(result: Result, timing: Timing, theirs: Reference, wanted: float) -> None:
    result.check(
        "iterations a second, times the reference's", theirs.seconds / timing.seconds, least=wanted
    )


def _setting(cases: Cases, iterations: int, workers: int) -> str:
    chosen = cases.configuration
    return (
        f"patch {list(chosen.patch_vox)}, batch {chosen.batch}, {iterations} iterations after a "
        f"warm-up, {workers} workers; augmentation and loading included; ours in bfloat16"
    )


class _Limits:
    """Operations of a step, and how many a second one large bfloat16 convolution runs."""

    def __init__(self, bench: Bench, cases: Cases) -> None:
        network = plan_network(cases.plan, cases.configuration, seed=0).to("meta").train()
        shape = (1, len(cases.plan.task.channels), *cases.configuration.patch_vox)
        with FlopCounterMode(display=False) as counter:
            sum(level.sum() for level in network(torch.empty(shape, device="meta"))).backward()
        self.step = counter.get_total_flops() * cases.configuration.batch
        self.rate = _large_convolution(bench)

    def share(self, timing: Timing) -> str:
        """How much of the large convolution's rate a training reaches, in words."""
        share = self.step / timing.seconds / self.rate
        return (
            f"{share:.0%} of one large bfloat16 convolution's rate ({self.rate / 1e12:.3g} "
            f"Tflop/s; a step is {self.step / 1e12:.3g} Tflop)"
        )


def _large_convolution(bench: Bench) -> float:
    """Operations a second of a 3x3x3 convolution of 128 features, channels last."""
    size = (2, 128, 64, 128, 128) if bench.gpu else (1, 128, 1, 2, 2)
    like = {"dtype": torch.bfloat16, "device": bench.torch_device}
    layer = torch.nn.Conv3d(128, 128, 3, padding=1, **like).to(memory_format=torch.channels_last_3d)
    image = torch.randn(size, **like).to(memory_format=torch.channels_last_3d)
    idle = torch.optim.SGD(layer.parameters(), 0.0)  # its steps mark the time
    with torch.no_grad(), bench.execution.device.tuned():
        for _ in range(3):
            layer(image)
        middle = bench.clock(idle)
        for _ in range(12):
            layer(image)
            idle.step()
    voxels = image.numel() // 128
    return 2 * 27 * 128 * 128 * voxels / statistics.fmean([middle()])
