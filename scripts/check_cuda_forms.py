"""What the package's own forms for a GPU bring: CUDA graphs, and the fused normalisation."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from check_cuda_bench import Bench, relative
from check_cuda_report import Result

from fednnunet.network import cuda
from fednnunet.network.blocks import EPS, SLOPE


def forms(bench: Bench, result: Result) -> None:
    """The fused normalisation against float64, and training without it and without graphs."""
    if bench.gpu:
        apart = _fused_against_torch(bench)
        result.check("fused normalisation: relative error in float32", apart, most=1e-4)
    sizes = bench.sizes
    for title, cases, iterations in (
        ("hippocampus", bench.small, sizes.iterations),
        ("large patches", bench.large, sizes.form_iterations),
    ):
        losses = []
        for graphs in (True, False):
            for fused in (True, False):
                own = bench.execution
                execution = replace(
                    own, graphs=graphs and own.graphs, fused_norm=fused and own.fused_norm
                )
                timing = bench.train(cases, execution=execution, iterations=iterations)
                losses.append(timing.summary.loss)
                form = {"of": title, "CUDA graphs": graphs, "fused normalisation": fused}
                result.rows.append(form | timing.row("ours"))
        apart = max(losses) - min(losses)
        result.check(f"{title}: losses of all forms lie within", apart, most=0.02)


def _fused_against_torch(bench: Bench) -> float:
    """The largest relative error of outputs and gradients against torch in float64."""
    worst = 0.0
    for shape in ((2, 32, 20, 30, 40), (1, 320, 5, 6, 7), (3, 2, 16, 16, 16)):
        x, grad = (torch.randn(shape, device=bench.torch_device) for _ in range(2))
        weight, bias = torch.randn((2, shape[1]), device=bench.torch_device)
        given = [t.clone().requires_grad_() for t in (3 * x + 2, weight, bias)]
        truth = [t.detach().double().requires_grad_() for t in given]
        given[0] = given[0].detach().contiguous(memory_format=torch.channels_last_3d)
        given[0].requires_grad_()
        found = cuda.norm_rectify(*given, EPS, SLOPE)
        found.backward(grad)
        normal = F.instance_norm(truth[0], weight=truth[1], bias=truth[2], eps=EPS)
        wanted = F.leaky_relu(normal, SLOPE)
        wanted.backward(grad.double())
        pairs = [(found, wanted), *((a.grad, b.grad) for a, b in zip(given, truth, strict=True))]
        worst = max(worst, *(relative([a], [b]) for a, b in pairs))
    return worst
