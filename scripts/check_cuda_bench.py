"""What the parts of check_cuda.py share: the device, sizes, prepared cases, and timed training."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from check_cuda_cases import blob_cases, ct_cases, ct_plan, small_plan
from torch import nn

from fednnunet.device import Device, observe
from fednnunet.planning.plan import Configuration, Plan, read_plan
from fednnunet.preprocess.store import Store
from fednnunet.training.device import Execution, choose_execution
from fednnunet.training.graphs import MIN_ITERATIONS
from fednnunet.training.local_job import LocalJob
from fednnunet.training.recipe import Recipe, recipe_named
from fednnunet.training.state import TrainingState, new_state
from fednnunet.training.summary import TrainSummary
from fednnunet.training.trainer import train

CONFIGURATION = "3d_fullres"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is computed: iterations of each kind, and edges of volumes (z, y, x)."""

    iterations: int = 200
    large_iterations: int = 100
    form_iterations: int = 60
    warm_up: int = MIN_ITERATIONS  # so that what is recorded is recorded before the clock runs
    dice_seeds: int = 3
    steps: int = 20
    ct_vox: tuple[int, int, int] = (200, 512, 512)
    large_vox: tuple[int, int, int] = (150, 300, 300)


TINY = Sizes(
    iterations=3,
    large_iterations=2,
    form_iterations=2,
    warm_up=1,
    dice_seeds=1,
    steps=4,
    ct_vox=(20, 24, 24),
    large_vox=(20, 24, 24),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """A plan, the prepared cases it is for, and which of them train at each site."""

    plan: Plan
    store: Store
    sites: dict[str, tuple[str, ...]]
    held_out: tuple[str, ...]

    @property
    def training(self) -> tuple[str, ...]:
        """Training cases of all sites."""
        return tuple(name for names in self.sites.values() for name in names)

    @property
    def configuration(self) -> Configuration:
        """The configuration that is trained."""
        return self.plan.configuration(CONFIGURATION)

    def job(self, recipe: Recipe, iterations: int, schedule_length: int) -> LocalJob:
        """Plain training on the training cases."""
        return LocalJob(
            store=self.store,
            names=self.training,
            plan=self.plan,
            configuration=self.configuration,
            recipe=recipe,
            iterations=iterations,
            schedule_length=schedule_length,
        )

    def with_batch(self, batch: int) -> Cases:
        """The same with another batch."""
        return replace(self, plan=_with_batch(self.plan, batch))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A timed training. `seconds` are a mean iteration's, data included, `middle` the median's."""

    seconds: float
    middle: float
    summary: TrainSummary
    memory_gib: float
    state: TrainingState

    def row(self, name: str, reference: float | None = None) -> dict[str, Any]:
        """A line of a table; `reference` is the seconds an iteration of what it is compared to."""
        ratio = {} if reference is None else {"times the reference": reference / self.seconds}
        return {
            "training": name,
            "ms an iteration": 1e3 * self.seconds,
            "ms, median": 1e3 * self.middle,
            **ratio,
            "waiting for data": f"{self.summary.wait_share:.1%}",
            "peak GiB": self.memory_gib,
            "loss": self.summary.loss,
        }


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The device under test, and what is tested on it."""

    folder: Path
    device: str = "auto"
    data: Path | None = None

    @cached_property
    def execution(self) -> Execution:
        """How the package trains here with its fused kernels, on one device."""
        chosen = choose_execution(self.device, cuda_kernels="fused")
        if chosen.device.name == "cuda":
            chosen = choose_execution("cuda:0", cuda_kernels="fused")
        return chosen if chosen.device.kind == "cuda" else replace(chosen, workers=2)

    @property
    def gpu(self) -> bool:
        """Whether it is a GPU; if not, everything is tiny."""
        return self.execution.device.kind == "cuda"

    @property
    def torch_device(self) -> torch.device:
        """The device as torch's own type."""
        return self.execution.torch_device

    @property
    def sizes(self) -> Sizes:
        """Sizes for this device."""
        return Sizes() if self.gpu else TINY

    def running(self, precision: str, **changes: Any) -> Execution:
        """The execution in another precision, with loss scaling where that needs it."""
        device = replace(self.execution.device, precision=precision, **changes)
        return replace(self.execution, device=device, scaler=precision == "float16")

    @cached_property
    def small(self) -> Cases:
        """Hippocampus with nnU-Net's plan, or blobs."""
        return self._hippocampus("plain") if self.data else self._blobs

    @cached_property
    def fast(self) -> Cases:
        """Hippocampus with the plan `cpu`, for the recipe `fast`; or blobs."""
        return self._hippocampus("cpu") if self.data else self._blobs

    @cached_property
    def large(self) -> Cases:
        """CT-like volumes with a plan of large patches, made here."""
        plan = ct_plan() if self.gpu else small_plan(labels=3)
        store = ct_cases(self.folder / "large", plan, self.sizes.large_vox, count=4)
        return Cases(plan=plan, store=store, sites={"ct": store.names}, held_out=())

    @cached_property
    def _blobs(self) -> Cases:
        plan = small_plan(labels=3)
        store = blob_cases(self.folder / "blobs", plan, count=8)
        names = store.names
        sites = {"a": names[:2], "b": names[2:4], "c": names[4:6]}
        return Cases(plan=plan, store=store, sites=sites, held_out=names[6:])

    def _hippocampus(self, planner: str) -> Cases:
        folder = Path(self.data or "") / "hippocampus"
        split = json.loads((folder / "split.json").read_text())
        return Cases(
            plan=read_plan(folder / f"{planner}.json"),
            store=Store.open(folder / "prepared"),
            sites={site: tuple(names) for site, names in split["sites"].items()},
            held_out=tuple(split["held_out"]),
        )

    def environment(self) -> dict[str, str]:
        """Facts about the machine."""
        found = {
            "device": torch.cuda.get_device_name(self.torch_device) if self.gpu else "CPU",
            "torch": torch.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "cores": str(len(os.sched_getaffinity(0))),
            "shared memory": f"{shutil.disk_usage('/dev/shm').free / 2**30:.1f} GiB free",
            "taken": time.strftime("%Y-%m-%d"),
        }
        if self.gpu:
            found["cuDNN"] = str(torch.backends.cudnn.version())
            found["devices"] = str(observe().cuda_devices)
            found["driver"] = _driver()
        return found

    def train(
        self,
        cases: Cases,
        recipe: str = "nnunet",
        *,
        execution: Execution | None = None,
        iterations: int | None = None,
        warm_up: int | None = None,
        runner: Callable[[nn.Module], Any] | None = None,
        seed: int = 0,
    ) -> Timing:
        """Train from first weights, and time all iterations after the warm-up.

        `runner` makes what stands in place of the network. Peak memory is that of the iterations
        that are timed.
        """
        execution = execution or self.execution
        iterations = iterations or self.sizes.iterations
        warm_up = self.sizes.warm_up if warm_up is None else warm_up
        rules = recipe_named(recipe)
        state = new_state(cases.plan, cases.configuration, rules, execution, seed=seed)
        total = iterations + warm_up
        if runner:
            state.runner = runner(state.network)
        if warm_up:
            train(state, cases.job(rules, warm_up, total), execution)
        marks = self.clock(state.optimiser)
        if self.gpu:
            torch.cuda.reset_peak_memory_stats(self.torch_device)
        self.synchronise()
        begin = time.perf_counter()
        summary = train(state, cases.job(rules, iterations, total), execution)
        self.synchronise()
        seconds = (time.perf_counter() - begin) / iterations
        return Timing(
            seconds=seconds,
            middle=marks(),
            summary=summary,
            memory_gib=summary.memory_gib,
            state=state,
        )

    def clock(self, optimiser: torch.optim.Optimizer) -> Callable[[], float]:
        """Mark the end of every step from now on; the answer is their median distance, seconds."""
        marks: list[Any] = []

        def mark(*_: Any) -> None:
            if self.gpu:
                event = torch.cuda.Event(enable_timing=True)
                event.record()
                marks.append(event)
            else:
                marks.append(time.perf_counter())

        handle = optimiser.register_step_post_hook(mark)

        def middle() -> float:
            handle.remove()
            self.synchronise()
            pairs = list(pairwise(marks))
            if not pairs:
                return float("nan")
            if self.gpu:
                return statistics.median(a.elapsed_time(b) / 1e3 for a, b in pairs)
            return statistics.median(b - a for a, b in pairs)

        return middle

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.gpu:
            torch.cuda.synchronize(self.torch_device)


def healthy(bench: Bench) -> bool:
    """Whether the device still answers; memory that a part left is given back."""
    try:
        bench.synchronise()
        if bench.gpu:
            torch.cuda.empty_cache()
            torch.ones(8, device=bench.torch_device).sum().item()
    except RuntimeError:
        return False
    return True


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """torch's deterministic mode, which warns where an operation has no deterministic form."""
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def plain(device: Device) -> Device:
    """The device with channels first."""
    return replace(device, channels_last=False)


def relative(found: Sequence[torch.Tensor], truth: Sequence[torch.Tensor]) -> float:
    """||found - truth|| / ||truth|| over all tensors, in float64 on the CPU."""
    pairs = [
        (a.detach().cpu().double(), b.detach().cpu().double())
        for a, b in zip(found, truth, strict=True)
    ]
    error = sum(float((a - b).square().sum()) for a, b in pairs)
    return float((error / sum(float(b.square().sum()) for _, b in pairs)) ** 0.5)


def _with_batch(plan: Plan, batch: int) -> Plan:
    changed = replace(plan.configuration(CONFIGURATION), batch=batch)
    return replace(plan, configurations=(changed,))


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"
