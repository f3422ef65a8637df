"""Whole trainings: Dice by precision, a kill and a resumption, a federation, several devices."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from check_cuda_bench import Bench, Cases, deterministic, relative
from check_cuda_report import Result
from check_cuda_sites import run_federation

from fednnunet.device import observe
from fednnunet.inference.compute import Compute
from fednnunet.inference.sliding import predict_logits
from fednnunet.training.device import Execution
from fednnunet.training.recipe import recipe_named
from fednnunet.training.state import CURRENT, TrainingState, load, new_state, save
from fednnunet.training.trainer import train

KILL_RECIPE, KILL_EVERY = "fast", 2


def dice(bench: Bench, result: Result) -> None:
    """Held-out Dice after the same iterations in each precision, from the same first weights."""
    cases, seeds = bench.fast, range(bench.sizes.dice_seeds)
    found: dict[str, list[float]] = {}
    for precision in ("float32", "bfloat16", *(["float16"] if bench.gpu else [])):
        for seed in seeds:
            timing = bench.train(
                cases, "fast", execution=bench.running(precision), warm_up=0, seed=seed
            )
            scores = found.setdefault(precision, [])
            scores.append(_mean_dice(timing.state, cases, bench.running(precision)))
        row = {f"seed {seed}": value for seed, value in zip(seeds, found[precision], strict=True)}
        result.rows.append(
            {"precision": precision, **row, "mean": statistics.fmean(found[precision])}
        )
    spread = statistics.stdev(found["float32"]) if len(seeds) > 1 else 1.0
    apart = statistics.fmean(found["float32"]) - statistics.fmean(found["bfloat16"])
    result.check("float32's Dice less bfloat16's", apart, most=max(2 * spread, 0.01))
    result.notes.append(
        f"mean foreground Dice of {len(cases.held_out)} held-out cases after "
        f"{bench.sizes.iterations} iterations of fast; float32 spreads by {spread:.4f} over seeds"
    )


def _mean_dice(state: TrainingState, cases: Cases, execution: Execution) -> float:
    compute, patch = Compute(device=execution.device), cases.configuration.patch_vox
    network = state.network.eval()
    scores = []
    for name in cases.held_out:
        image, labels = cases.store.case(name).read((0, 0, 0), cases.store.case(name).shape)
        mask = predict_logits(network, np.asarray(image), patch, compute=compute).argmax(0)
        for value in range(1, len(cases.plan.task.labels)):
            size = (mask == value).sum() + (labels == value).sum()
            if size:
                scores.append(2 * ((mask == value) & (labels == value)).sum() / size)
    return float(np.mean(scores))


def kill(bench: Bench, result: Result) -> None:
    """A training that is killed and goes on, beside ones that were not."""
    cases, steps = bench.small, bench.sizes.steps
    folder = bench.folder / "killed"
    command = [sys.executable, str(Path(__file__).resolve()), str(folder)]
    told = {"device": bench.device, "data": str(bench.data or ""), "steps": steps}
    told["folder"] = str(bench.folder)
    process = subprocess.Popen([*command, json.dumps(told)])
    with deterministic():  # else cuDNN tunes each process by the clock, and they part
        whole = [_steps(bench, cases, bench.folder / f"whole{i}", steps) for i in range(2)]
        reached = _kill_after(process, folder, steps // 2)
        result.hold("the process was killed in its work", process.returncode == -signal.SIGKILL)
        resumed = _steps(bench, cases, folder, steps)
    one, two, third = (list(state.network.state_dict().values()) for state in (*whole, resumed))
    noise, apart = relative(two, one), relative(third, one)
    result.rows.append({"killed after": reached, "of": steps, "two whole ones differ by": noise})
    result.rows[-1]["the resumed one by"] = apart
    result.check("relative difference of weights", apart, most=max(5 * noise, 1e-6))
    result.notes.append("in torch's deterministic mode, where one process computes like another")


def _kill_after(process: subprocess.Popen[bytes], folder: Path, steps: int) -> int:
    """Kill the process once it has saved that many steps; how many it had saved."""
    seen, last = 0, 0.0
    while process.poll() is None and seen < steps // KILL_EVERY:
        time.sleep(0.005)
        path = folder / CURRENT
        stamp = path.stat().st_mtime if path.exists() else 0.0
        seen, last = seen + (stamp != last), stamp
    process.kill()
    process.wait()
    return seen * KILL_EVERY


def _steps(
    bench: Bench, cases: Cases, folder: Path, steps: int, *, endless: bool = False
) -> TrainingState:
    """Train to so many steps, saving now and then, from what lies in the folder if anything."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = recipe_named(KILL_RECIPE)
    execution = replace(bench.execution, workers=min(bench.execution.workers, KILL_EVERY))
    state = new_state(cases.plan, cases.configuration, recipe, execution, seed=2)
    load(state, folder)
    while endless or state.step < steps:
        train(state, cases.job(recipe, KILL_EVERY, steps), execution)
        save(state, folder)
    return state


def federation(bench: Bench, result: Result) -> None:
    """All phases of fedease over three sites in this process, each from its own prepared cases."""
    run_federation(bench, result)


def devices(bench: Bench, result: Result) -> None:
    """A batch over all GPUs, beside one."""
    count = observe().cuda_devices
    if count < 2:
        result.state, result.error = "skipped", "there is one device, or none"
        return
    cases, steps = bench.small, bench.sizes.steps
    ranks = min(count, cases.configuration.batch)
    one = bench.train(cases, iterations=steps, warm_up=0)
    for backend in ("nccl", "gloo"):
        device = replace(bench.execution.device, name="cuda")
        shared = replace(bench.execution, device=device, devices=ranks, backend=backend)
        several = bench.train(cases, iterations=steps, warm_up=0, execution=shared)
        apart = abs(several.summary.loss / one.summary.loss - 1)
        result.rows.append({"backend": backend, "devices": ranks, "loss": several.summary.loss})
        result.check(f"{backend}: relative difference of the loss", apart, most=1e-2)


def train_until_killed(arguments: list[str]) -> None:
    """What the process that is killed does: FOLDER, and what it is told as JSON."""
    folder, told = Path(arguments[0]), json.loads(arguments[1])
    data = Path(told["data"]) if told["data"] else None
    bench = Bench(folder=Path(told["folder"]) / "child", device=told["device"], data=data)
    with deterministic():
        _steps(bench, bench.small, folder, told["steps"], endless=True)


if __name__ == "__main__":
    train_until_killed(sys.argv[1:])
