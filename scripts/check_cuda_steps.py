"""Single steps: against float64 on the CPU, without enough memory, and twice the same."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from check_cuda_bench import Bench, Cases, deterministic, relative
from check_cuda_report import Result
from torch import Tensor, nn

from fednnunet.device import Device
from fednnunet.training.augment import plain_augmenter
from fednnunet.training.batches import Batch, BatchSource
from fednnunet.training.device import Execution
from fednnunet.training.local_rule import LocalRule, RoundContext
from fednnunet.training.recipe import recipe_named
from fednnunet.training.state import TrainingState, new_state
from fednnunet.training.step import Stepper, make_stepper

# Relative error of the loss, and of all gradients together, that is allowed. A value that rounding
# lifts over a rectifier's bend changes its whole gradient, so the latter grows with the root of the
# format's precision: in float32 a CPU is 3e-4 from float64 and an H200 5e-3.
TOLERANCES = {
    "float32": (1e-4, 1e-2),
    "float32 with TF32": (2e-3, 5e-2),
    "float16": (2e-3, 5e-2),
    "bfloat16": (1e-2, 2e-1),
}
MOST_HALVINGS = 17


@dataclass
class Gradients:
    """A correction that changes nothing and keeps the unscaled gradients."""

    kept: list[Tensor] = field(default_factory=list)

    def __call__(self, state: TrainingState, context: RoundContext) -> None:
        """Copy every gradient; the lowest head has none with deep supervision."""
        self.kept = [p.grad.detach().cpu() for p in state.parameters.values() if p.grad is not None]


class Double(nn.Module):
    """A network in float64 for images in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits in float64, finest first."""
        logits: list[Tensor] = self.network(image.double())
        return logits


def numbers(bench: Bench, result: Result) -> None:
    """Loss and gradients of one step in each format, against the CPU in float64."""
    cases = bench.small.with_batch(2)
    batch = one_batch(cases)
    cpu = Execution(device=Device(channels_last=False), fused=False)
    loss, truth = _step(cases, batch, cpu, double=True)
    for name, (loss_most, gradient_most) in TOLERANCES.items():
        if name == "float32 with TF32" and not bench.gpu:
            continue
        precision = name.split()[0]
        for last in (True, False):
            execution = bench.running(precision, channels_last=last)
            with _tf32(name != "float32"):
                found, gradients = _step(cases, batch, execution)
            error, apart = abs(found - loss) / abs(loss), relative(gradients, truth)
            layout = "channels last" if last else "channels first"
            result.rows.append(
                {"format": name, "layout": layout, "loss": found, "error of the loss": error}
                | {"error of the gradients": apart}
            )
            if last == bench.execution.device.channels_last:
                result.check(f"{name}: relative error of the loss", error, most=loss_most)
                result.check(f"{name}: of the gradients", apart, most=gradient_most)
    result.notes.append(f"loss in float64: {loss:.6f}; ||found - true|| / ||true|| over gradients")


def one_batch(cases: Cases, step: int = 0) -> Batch:
    """A batch of unchanged patches, the same on every machine."""
    configuration = cases.configuration
    source = BatchSource(
        store=cases.store,
        names=cases.training,
        task=cases.plan.task,
        augmenter=plain_augmenter(configuration.patch_vox),
        size=configuration.batch,
        foreground=1.0,
        seed=7,
    )
    return source[step]


def stepper(cases: Cases, execution: Execution, *corrections: Gradients) -> Stepper:
    """A step of the recipe nnunet on the whole batch."""
    job = cases.job(recipe_named("nnunet"), 1, 1)
    job = replace(job, local_rule=LocalRule(corrections=corrections))
    return make_stepper(job, replace(execution, micro_batch=cases.configuration.batch))


def _step(
    cases: Cases, batch: Batch, execution: Execution, *, double: bool = False
) -> tuple[float, list[Tensor]]:
    kept = Gradients()
    state = new_state(cases.plan, cases.configuration, recipe_named("nnunet"), execution, seed=3)
    if double:
        state.runner = Double(state.network)
    state.network.train()
    step = stepper(cases, execution, kept)
    for _ in range(MOST_HALVINGS):  # of the loss scale; a step whose gradients overflow is left out
        loss, _ = step(state, batch)
        if all(bool(torch.isfinite(gradient).all()) for gradient in kept.kept):
            break
    return float(loss), kept.kept


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Whether convolutions in float32 may be rounded to TF32; torch's default is yes."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def memory(bench: Bench, result: Result) -> None:
    """Training goes on in smaller parts where the whole batch does not fit, to the same loss."""
    cases = bench.small.with_batch(8)
    whole, halves = (replace(bench.execution, micro_batch=size) for size in (8, 4))
    roomy = bench.train(cases, iterations=3, warm_up=2, execution=whole)  # tuning takes memory
    half = bench.train(cases, iterations=3, warm_up=2, execution=halves)
    limit = half.memory_gib + 0.4 * (roomy.memory_gib - half.memory_gib)
    with _little_memory(bench, limit) as runner:
        tight = bench.train(cases, iterations=5, warm_up=0, execution=whole, runner=runner)
    fitting = bench.train(cases, iterations=5, warm_up=0, execution=whole)
    for name, timing in (
        ("whole", roomy),
        ("by halves", half),
        ("whole, from the first iteration", fitting),
        ("fallback, from the first iteration", tight),
    ):
        row = {"training": name, "samples at once": timing.summary.micro_batch}
        result.rows.append(row | {"peak GiB": timing.memory_gib, "loss": timing.summary.loss})
    apart = abs(tight.summary.loss / fitting.summary.loss - 1)
    result.hold("the batch was divided", tight.summary.micro_batch < 8)
    result.hold("and said to be", any("out of GPU memory" in n for n in tight.summary.notes))
    result.check("relative difference of the loss", apart, most=1e-2)
    result.notes += tight.summary.notes


@contextmanager
def _little_memory(bench: Bench, gib: float) -> Iterator[object]:
    """Allow this process so much of the GPU's memory; on a CPU, a runner that pretends."""
    if not bench.gpu:
        yield _Pretending
        return
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(bench.torch_device).total_memory
    torch.cuda.set_per_process_memory_fraction(gib * 2**30 / whole, bench.torch_device)
    try:
        yield None
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, bench.torch_device)


class _Pretending(nn.Module):
    """A network whose device holds 4 samples."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> object:
        if len(image) > 4:
            raise torch.OutOfMemoryError("pretended")
        return self.network(image)


def repeat(bench: Bench, result: Result) -> None:
    """Whether two trainings are equal bit for bit: as usual, and in torch's deterministic mode."""
    for mode in ("as usual", "deterministic"):
        with warnings.catch_warnings(record=True) as caught, deterministic(mode == "deterministic"):
            warnings.simplefilter("always")
            first, second = (
                bench.train(bench.small, iterations=bench.sizes.steps, warm_up=0) for _ in range(2)
            )
        one, two = (list(t.state.network.state_dict().values()) for t in (first, second))
        equal = all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
        result.rows.append(
            {"mode": mode, "equal weights": equal, "relative difference": relative(one, two)}
            | {"ms an iteration": 1e3 * second.middle}
        )
        told = {str(w.message).split(" ")[0] for w in caught if "determinis" in str(w.message)}
        result.notes += [f"{mode}: {name} has no deterministic form" for name in sorted(told)]
        if mode == "deterministic":
            result.hold("two runs are equal in deterministic mode", equal)
