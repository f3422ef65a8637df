"""Forms of a training step that are not in the package: whether they would pay, and are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from check_cuda_bench import Bench, Cases, relative
from check_cuda_reference import reference
from check_cuda_report import Result
from torch import Tensor, nn

from fednnunet.network.blocks import EPS, SLOPE, ConvNorm, InstanceNorm

Runner = Callable[[nn.Module], Any]


def candidates(bench: Bench, result: Result) -> None:
    """CUDA graphs of the network, a fused normalisation for channels last, and both."""
    if not bench.gpu:
        result.notes.append("CUDA graphs and Triton kernels need a GPU")
        return
    apart = _fused_against_torch(bench)
    result.check("fused normalisation: relative error in float32", apart, most=1e-4)
    sizes = bench.sizes
    for title, cases, iterations in (
        ("hippocampus", bench.small, sizes.iterations),
        ("large patches", bench.large, sizes.large_iterations),
    ):
        theirs = reference(bench, cases, "bfloat16", iterations=iterations)
        result.rows.append({"of": title, **theirs.row("bfloat16")})
        for name, graph, fused in (
            ("as it is", False, False),
            ("CUDA graph", True, False),
            ("fused normalisation", False, True),
            ("fused normalisation, CUDA graph", True, True),
        ):
            with _fused() if fused else nullcontext():
                runner = _graphed(bench, cases) if graph else None
                timing = bench.train(cases, iterations=iterations, runner=runner)
            result.rows.append({"of": title, **timing.row(f"ours, {name}", theirs.seconds)})


def _graphed(bench: Bench, cases: Cases) -> Runner:
    """A runner that replays the network's kernels, forwards and backwards, as two CUDA graphs."""

    def run(network: nn.Module) -> nn.Module:
        device, chosen = bench.execution.device, cases.configuration
        shape = (chosen.batch, len(cases.plan.task.channels), *chosen.patch_vox)
        image = torch.randn(shape, device=bench.torch_device)
        image = image.to(memory_format=device.memory_format(len(chosen.patch_vox)))
        network.train()
        kept = torch.autocast("cuda", dtype=device.dtype, cache_enabled=False)
        with device.tuned(), kept:
            graphed: nn.Module = torch.cuda.make_graphed_callables(
                network, (image,), allow_unused_input=True
            )
        return graphed

    return run


@contextmanager
def _fused() -> Iterator[None]:
    """Let every block normalise and rectify by the Triton kernels."""
    from check_cuda_norm import norm_rectify

    before = ConvNorm.finish

    def finish(block: ConvNorm, x: Tensor) -> Tensor:
        if not isinstance(block.norm, InstanceNorm):
            return before(block, x)
        slope = 1.0 if block.linear else SLOPE
        return norm_rectify(x, block.norm.weight, block.norm.bias, EPS, slope)

    ConvNorm.finish = finish  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConvNorm.finish = before  # type: ignore[method-assign]


def _fused_against_torch(bench: Bench) -> float:
    """The largest relative error of outputs and gradients against torch in float64."""
    from check_cuda_norm import norm_rectify

    worst = 0.0
    for shape in ((2, 32, 20, 30, 40), (1, 320, 5, 6, 7), (3, 2, 16, 16, 16)):
        x, grad = (torch.randn(shape, device=bench.torch_device) for _ in range(2))
        weight, bias = torch.randn((2, shape[1]), device=bench.torch_device)
        given = [t.clone().requires_grad_() for t in (3 * x + 2, weight, bias)]
        truth = [t.detach().double().requires_grad_() for t in given]
        found = norm_rectify(*given, EPS, SLOPE)
        found.backward(grad)
        normal = F.instance_norm(truth[0], weight=truth[1], bias=truth[2], eps=EPS)
        wanted = F.leaky_relu(normal, SLOPE)
        wanted.backward(grad.double())
        pairs = [(found, wanted), *((a.grad, b.grad) for a, b in zip(given, truth, strict=True))]
        worst = max(worst, *(relative([a], [b]) for a, b in pairs))
    return worst
