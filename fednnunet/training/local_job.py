"""A stretch of training in one process: what `loop.train` does on each device."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from fednnunet.errors import FedNNUNetError
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.training.allocator import keep_freed_memory
from fednnunet.training.augment import make_augmenter
from fednnunet.training.batches import Batch, BatchSource, batches
from fednnunet.training.counts import DiceCounts, as_counts
from fednnunet.training.device import Execution, compile_verdict
from fednnunet.training.local_rule import LocalRule, RoundContext, phase_lengths
from fednnunet.training.losses import Loss, level_weights
from fednnunet.training.patches import PatchStore
from fednnunet.training.recipe import Recipe, learning_rate_at
from fednnunet.training.state import TrainingState
from fednnunet.training.step import Stepper, set_learning_rate, step_with_fallback
from fednnunet.training.summary import TrainSummary
from fednnunet.training.targets import make_targets

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJob:
    """What to train on and how: `loop.train`'s arguments; `frozen` names what must not change.

    `schedule_start` iterations of the learning rate's schedule lie before.
    """

    store: PatchStore
    names: Sequence[str]
    plan: Plan
    configuration: Configuration
    recipe: Recipe
    iterations: int
    schedule_length: int
    schedule_start: int
    local_rule: LocalRule = field(default_factory=LocalRule)
    context: RoundContext = field(default_factory=RoundContext)
    labels_here: tuple[int, ...] | None = None
    frozen: frozenset[str] = frozenset()
    progress: Progress | None = None


def run_local_job(
    state: TrainingState, local_job: LocalJob, execution: Execution, share: tuple[int, int] = (0, 1)
) -> TrainSummary:
    """Train `state` in place; `share` is (rank, ranks) where several processes share batches.

    A method that looks at features is not compiled: a compiled network does not show them.
    """
    if execution.device.kind == "cpu":
        keep_freed_memory()
    if local_job.local_rule.features:
        execution = replace(execution, compile=False)
    source = _source(local_job, state, share)
    stepper = _stepper(local_job, execution, share[1])
    state.network.train()
    if execution.compile and (state.runner is None or share[1] > 1):
        network = state.network if state.runner is None else state.runner
        state.runner = torch.compile(network, dynamic=False)
    return _Run(state, local_job, execution).run(source, stepper)


class _Run:
    """Figures that gather while iterations pass."""

    def __init__(self, state: TrainingState, local_job: LocalJob, execution: Execution) -> None:
        self.state, self.local_job, self.execution = state, local_job, execution
        self.begin = time.perf_counter()
        self.first = self.wait = 0.0
        self.losses: list[Tensor] = []
        self.counts: Tensor | None = None
        self.notes: list[str] = []

    def run(self, source: BatchSource, stepper: Stepper) -> TrainSummary:
        state, local_job, execution = self.state, self.local_job, self.execution
        stop = state.step + local_job.iterations
        made = batches(source, state.step, stop, workers=execution.workers, pin=execution.pin)
        for iterations, others in phase_lengths(
            local_job.local_rule.phases, local_job.iterations, tuple(state.parameters)
        ):
            with frozen_parameters(state.network, local_job.frozen | others):
                for _ in range(iterations):
                    waiting = time.perf_counter()
                    batch = next(made)
                    self.wait += time.perf_counter() - waiting
                    stepper = self._iterate(stepper, batch)
        return self._summary(stepper)

    def _iterate(self, stepper: Stepper, batch: Batch) -> Stepper:
        state, local_job = self.state, self.local_job
        place = local_job.schedule_start + len(self.losses)
        set_learning_rate(
            state.optimiser, learning_rate_at(local_job.recipe, place, local_job.schedule_length)
        )
        asked = stepper.micro_batch
        stepper, (loss, counts) = step_with_fallback(stepper, state, batch)
        if stepper.micro_batch < asked:
            self.notes.append(
                f"out of GPU memory with {asked} samples at once: iteration {state.step} was "
                f"repeated with {stepper.micro_batch}, gradients are accumulated"
            )
        self.losses.append(loss)
        self.counts = counts if self.counts is None else self.counts + counts
        state.step += 1
        self.first = self.first or time.perf_counter() - self.begin
        self._tell()
        return stepper

    def _tell(self) -> None:
        if self.local_job.progress is None:
            return
        done, seconds = len(self.losses), time.perf_counter() - self.begin
        line = [
            f"{seconds / done:.2f} s/iteration",
            f"waiting {self.wait / max(seconds, 1e-9):.0%}",
            f"{peak_memory_gib(self.execution):.1f} GiB",
        ]
        if self.execution.torch_device.type == "cpu":  # a GPU would have to be waited for
            line = [f"loss {float(self.losses[-1]):.3f}", f"Dice {self._dice()}", *line]
        self.local_job.progress(done, self.local_job.iterations, ", ".join(line))

    def _dice(self) -> str:
        """Mean over targets on the patches so far."""
        if self.counts is None:
            return "-"
        mean = as_counts(self.counts, tuple(map(str, range(self.counts.shape[1])))).mean
        return "-" if mean is None else f"{mean:.2f}"

    def _summary(self, stepper: Stepper) -> TrainSummary:
        local_job, targets = self.local_job, stepper.loss.targets
        mean, counts = 0.0, DiceCounts.empty(targets.names)
        if self.counts is not None:
            mean = float(stepper.over_ranks(torch.stack(self.losses)).mean())
            counts = as_counts(stepper.over_ranks(self.counts), targets.names)
        if not math.isfinite(mean):
            raise FedNNUNetError(
                "the training loss is no longer finite",
                mend="lower the recipe's rate, or check the intensities of this site's images",
            )
        seconds = time.perf_counter() - self.begin
        last = local_job.schedule_start + max(len(self.losses) - 1, 0)
        if self.execution.compile and local_job.schedule_start == 0 and len(self.losses) > 1:
            later = (seconds - self.first) / (len(self.losses) - 1)
            self.notes.append(
                compile_verdict(
                    self.execution.device,
                    iterations=local_job.schedule_length,
                    first=self.first,
                    later=later,
                )
            )
        return TrainSummary(
            iterations=len(self.losses),
            loss=mean,
            learning_rate=learning_rate_at(local_job.recipe, last, local_job.schedule_length),
            seconds=seconds,
            wait_seconds=self.wait,
            memory_gib=peak_memory_gib(self.execution),
            micro_batch=stepper.micro_batch,
            dice=counts,
            notes=tuple(self.notes),
        )


@contextmanager
def frozen_parameters(network: nn.Module, names: frozenset[str]) -> Iterator[None]:
    """Keep the named parameters from changing, for a while."""
    kept = [parameter for name, parameter in network.named_parameters() if name in names]
    for parameter in kept:
        parameter.requires_grad_(False)
        parameter.grad = None
    try:
        yield
    finally:
        for parameter in kept:
            parameter.requires_grad_(True)


def peak_memory_gib(execution: Execution) -> float:
    """The most memory used so far: of the GPU, or of this process."""
    if execution.torch_device.type == "cuda":
        return torch.cuda.max_memory_allocated(execution.torch_device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def samples_at_once(
    configuration: Configuration, norm: str, execution: Execution, *, ignores: bool = False
) -> int:
    """Samples that go through the network together.

    On a CPU in float32 two at a time are faster than a whole batch, since their feature maps stay
    nearer to the cache, and take a fraction of the memory; in bfloat16 maps are half as large, and
    what each pass costs whatever its size weighs more (a batch of 7 took 0.92 s whole, 1.11 s by
    twos). It is done where it computes the same: with instance normalisation, a Dice per sample and
    no ignore label (`ignores`), with which cross-entropy is a mean over the annotated voxels of all
    that goes through together. Otherwise the batch stays whole, unless the execution bounds it:
    memory goes first then, and the step is nearly the whole batch's (see `Execution`).
    """
    if execution.micro_batch is not None:
        return min(execution.micro_batch, configuration.batch)
    alike = norm == "instance" and not configuration.batch_dice and not ignores
    float32_on_cpu = execution.device.kind == "cpu" and execution.device.precision == "float32"
    return min(2, configuration.batch) if alike and float32_on_cpu else configuration.batch


def _source(local_job: LocalJob, state: TrainingState, share: tuple[int, int]) -> BatchSource:
    configuration, recipe = local_job.configuration, local_job.recipe
    augmentations = [
        augmentation(state.memory, local_job.context)
        for augmentation in local_job.local_rule.augmentations
    ]
    return BatchSource(
        store=local_job.store,
        names=tuple(sorted(local_job.names)),
        task=local_job.plan.task,
        augmenter=make_augmenter(
            configuration.patch_vox,
            configuration.use_mask,
            recipe.augmentation,
            first=[step for step in augmentations if step is not None],
        ),
        size=configuration.batch,
        foreground=recipe.foreground,
        seed=state.seed,
        share=share,
    )


def _stepper(local_job: LocalJob, execution: Execution, ranks: int) -> Stepper:
    configuration, recipe = local_job.configuration, local_job.recipe
    levels = len(configuration.architecture.stages) - 1
    loss = Loss(
        targets=make_targets(local_job.plan.task, local_job.labels_here),
        batch_dice=configuration.batch_dice,
        level_weights=level_weights(levels, deep_supervision=recipe.deep_supervision),
        dice_weight=recipe.dice_weight,
        cross_entropy_weight=recipe.cross_entropy_weight,
    )
    return Stepper(
        loss=loss,
        execution=execution,
        micro_batch=samples_at_once(
            configuration,
            local_job.plan.norm,
            execution,
            ignores=local_job.plan.task.ignore is not None,
        ),
        batch=configuration.batch,
        clip=recipe.clip,
        axes=len(configuration.patch_vox),
        local_rule=local_job.local_rule,
        context=local_job.context.on(execution.torch_device),
        ranks=ranks,
    )
