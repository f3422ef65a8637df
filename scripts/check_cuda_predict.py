"""Prediction of a CT volume of 512x512x200 with 3 classes: time, memory, and the CPU's mask."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from check_cuda_bench import Bench
from check_cuda_cases import draw_ct, prepare
from check_cuda_report import Result

from fednnunet.inference.compute import Compute, choose_compute
from fednnunet.inference.export import export_logits
from fednnunet.inference.sliding import predict_logits
from fednnunet.planning.plan import Configuration
from fednnunet.preprocess.pipeline import Prepared
from fednnunet.task import Task
from fednnunet.training.initial import plan_network

MOST_SECONDS, LEAST_SAME, MOST_APART = 10.0, 0.995, 2e-2


def predict(bench: Bench, result: Result) -> None:
    """From the prepared volume to the mask on the native grid, and a crop of it on the CPU."""
    cases = bench.large
    configuration, task = cases.configuration, cases.plan.task
    network = plan_network(cases.plan, configuration, seed=1)
    drawing = draw_ct(bench.sizes.ct_vox, 99)
    ready = prepare(cases.plan, drawing)
    usual = choose_compute(bench.execution.device.name)
    forms = {
        "as usual": usual,
        "again": usual,
        "1 tile at once": replace(usual, tiles=1),
    }
    for name, compute in forms.items():
        seconds, logits, row = _timed(bench, network, ready, configuration, task, compute)
        result.rows.append({"prediction": name, "tiles at once": compute.tiles, **row})
        if name == "again":
            result.check("seconds for the volume", seconds, most=MOST_SECONDS)
        del logits
    _beside_cpu(bench, network, ready, configuration, usual, result)
    result.notes.append(
        f"volume {list(ready.data.shape[1:])}, patch {list(configuration.patch_vox)}, "
        f"{task.heads} classes, no mirroring; the first run tunes cuDNN's algorithms"
    )


def _timed(
    bench: Bench,
    network: torch.nn.Module,
    ready: Prepared,
    configuration: Configuration,
    task: Task,
    compute: Compute,
) -> tuple[float, np.ndarray, dict[str, object]]:
    placed = compute.place(network, len(configuration.patch_vox))
    if bench.gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(bench.torch_device)
    counted: list[int] = []
    begin = time.perf_counter()
    logits = predict_logits(
        placed,
        ready.data,
        configuration.patch_vox,
        compute=compute,
        progress=lambda done, total, _: counted.append(total),
    )
    network_seconds = time.perf_counter() - begin
    export_logits(logits, ready.placement, task, configuration.resampling)
    seconds = time.perf_counter() - begin
    row: dict[str, object] = {
        "seconds": seconds,
        "of them sliding window": network_seconds,
        "tiles": counted[-1],
        "tiles/s": counted[-1] / network_seconds,
    }
    if bench.gpu:
        row["peak GiB"] = torch.cuda.max_memory_allocated(bench.torch_device) / 2**30
    return seconds, logits, row


def _beside_cpu(
    bench: Bench,
    network: torch.nn.Module,
    ready: Prepared,
    configuration: Configuration,
    usual: Compute,
    result: Result,
) -> None:
    """Logits and mask of a crop of two tiles, on the device and on the CPU."""
    patch = configuration.patch_vox
    size = (patch[0], patch[1], patch[2] + patch[2] // 2)
    middle = [(n - min(n, s)) // 2 for n, s in zip(ready.data.shape[1:], size, strict=True)]
    box = tuple(slice(m, m + s) for m, s in zip(middle, size, strict=True))
    crop = np.ascontiguousarray(ready.data[(slice(None), *box)])
    found: list[np.ndarray] = []
    for compute in (usual, Compute()):
        placed = compute.place(network, len(patch))
        found.append(predict_logits(placed, crop, patch, compute=compute))
    here, truth = found
    same = float((here.argmax(0) == truth.argmax(0)).mean())
    apart = float(np.linalg.norm(here - truth) / np.linalg.norm(truth))
    result.check("voxels with the CPU's label", same, least=LEAST_SAME)
    result.check("relative difference of the logits", apart, most=MOST_APART)
    result.notes.append(f"beside the CPU: a crop of {list(crop.shape[1:])}, untrained weights")
