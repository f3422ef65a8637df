"""A local training job in one process, which is all of it or one GPU's part."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from fednnunet import system
from fednnunet.errors import FedNNUNetError
from fednnunet.network.cuda import fused_kernels
from fednnunet.training import graphs
from fednnunet.training.allocator import keep_freed_memory
from fednnunet.training.augment import make_augmenter
from fednnunet.training.batches import Batch, BatchSource, Source, batches
from fednnunet.training.completion import Moment
from fednnunet.training.counts import DiceCounts, as_counts
from fednnunet.training.device import Execution, compile_verdict
from fednnunet.training.local_job import LocalJob
from fednnunet.training.local_rule import phase_lengths
from fednnunet.training.out_of_memory import step_with_fallback
from fednnunet.training.recipe import learning_rate_at
from fednnunet.training.state import TrainingState
from fednnunet.training.step import Stepper, make_stepper, set_learning_rate
from fednnunet.training.summary import TrainSummary


def train_in_process(
    state: TrainingState, job: LocalJob, execution: Execution, shard: tuple[int, int] = (0, 1)
) -> TrainSummary:
    """Train `state` in place; `shard` is (rank, ranks) where several processes share batches.

    A local rule that reads features is not compiled: a compiled network does not show them.
    """
    if execution.device.kind == "cpu":
        keep_freed_memory()
    if job.rule.features:
        execution = replace(execution, compile=False)
    source = _source(job, state, shard)
    stepper = make_stepper(job, execution, ranks=shard[1])
    state.network.train()
    if execution.compile and (state.runner is None or shard[1] > 1):
        network = state.network if state.runner is None else state.runner
        state.runner = torch.compile(network, dynamic=False)
    if job.completion is not None:
        job.completion.begin(state)
    with execution.device.tuned(), fused_kernels(execution.fused_norm):
        summary = _LocalTraining(state, job, execution).run(source, stepper)
    if job.completion is not None:
        job.completion.end(state)
    return summary


class _LocalTraining:
    """The loop over a job's iterations, and the figures that it gathers."""

    def __init__(self, state: TrainingState, job: LocalJob, execution: Execution) -> None:
        self.state, self.job, self.execution = state, job, execution
        self.schedule_start = state.step if job.schedule_start is None else job.schedule_start
        self.begin = time.perf_counter()
        self.first_seconds = self.wait_seconds = 0.0
        self.losses: list[Tensor] = []
        self.counts: Tensor | None = None
        self.notes: list[str] = []
        self.cases: set[str] = set()

    def run(self, source: Source, stepper: Stepper) -> TrainSummary:
        state, job, execution = self.state, self.job, self.execution
        stop = state.step + job.iterations
        made = batches(source, state.step, stop, workers=execution.workers, pin=execution.pin)
        self.cases.update(*(source.cases(step) for step in range(state.step, stop)))
        for iterations, others in phase_lengths(
            job.rule.phases, job.iterations, tuple(state.parameters)
        ):
            with parameters_frozen(state.network, job.frozen | others):
                graphs.prepare(state, stepper)
                for _ in range(iterations):
                    waiting = time.perf_counter()
                    batch = next(made)
                    self.wait_seconds += time.perf_counter() - waiting
                    stepper = self._iterate(stepper, batch)
        return self._summary(stepper)

    def _iterate(self, stepper: Stepper, batch: Batch) -> Stepper:
        state = self.state
        set_learning_rate(state.optimiser, self._learning_rate(len(self.losses)))
        before = stepper.micro_batch
        if self.job.completion is not None:
            moment = self._moment(stepper)
            batch = self.job.completion.complete(state, batch, moment)
        stepper, (loss, counts) = step_with_fallback(stepper, state, batch)
        if stepper.micro_batch < before:
            self.notes.append(
                f"out of GPU memory with {before} samples at once: iteration {state.step} was "
                f"repeated with {stepper.micro_batch}, gradients are accumulated"
            )
        self.losses.append(loss)
        self.counts = counts if self.counts is None else self.counts + counts
        state.step += 1
        if self.job.completion is not None:
            self.job.completion.follow(state)
        self.first_seconds = self.first_seconds or time.perf_counter() - self.begin
        self._report_progress()
        return stepper

    def _moment(self, stepper: Stepper) -> Moment:
        """Where the next iteration stands in the federation's."""
        place = self.schedule_start + len(self.losses)
        return Moment(
            done=min(place / max(self.job.schedule_length, 1), 1.0),
            at_once=stepper.micro_batch,
            execution=self.execution,
        )

    def _learning_rate(self, iteration: int) -> float:
        """Of an iteration of this job, counted from 0."""
        place = self.schedule_start + iteration
        return learning_rate_at(self.job.recipe, place, self.job.schedule_length)

    def _report_progress(self) -> None:
        if self.job.progress is None:
            return
        done, seconds = len(self.losses), time.perf_counter() - self.begin
        line = [
            f"{seconds / done:.2f} s/iteration",
            f"waiting {self.wait_seconds / max(seconds, 1e-9):.0%}",
            f"{peak_memory_gib(self.execution):.1f} GiB",
        ]
        if self.execution.torch_device.type == "cpu":  # reading these would make a GPU wait
            line = [f"loss {float(self.losses[-1]):.3f}", f"Dice {self._dice()}", *line]
        self.job.progress(done, self.job.iterations, ", ".join(line))

    def _dice(self) -> str:
        """Mean over targets on the patches so far."""
        if self.counts is None:
            return "-"
        mean = as_counts(self.counts, self.job.plan.task.targets).mean
        return "-" if mean is None else f"{mean:.2f}"

    def _summary(self, stepper: Stepper) -> TrainSummary:
        targets = self.job.plan.task.targets
        mean, spread, counts = 0.0, 0.0, DiceCounts.empty(targets)
        if self.counts is not None:
            losses = stepper.over_ranks(torch.stack(self.losses))
            mean, spread = float(losses.mean()), float(losses.std(correction=0))
            counts = as_counts(stepper.over_ranks(self.counts), targets)
        if not math.isfinite(mean):
            raise FedNNUNetError(
                "the training loss is no longer finite",
                mend="lower the recipe's learning rate, or check the intensities of this site's "
                "images",
            )
        seconds = time.perf_counter() - self.begin
        if self.execution.compile and self.schedule_start == 0 and len(self.losses) > 1:
            self.notes.append(self._compile_verdict(seconds))
        return TrainSummary(
            iterations=len(self.losses),
            loss=mean,
            learning_rate=self._learning_rate(max(len(self.losses) - 1, 0)),
            seconds=seconds,
            wait_seconds=self.wait_seconds,
            memory_gib=peak_memory_gib(self.execution),
            micro_batch=stepper.micro_batch,
            dice=counts,
            cases=tuple(sorted(self.cases)),
            notes=tuple(self.notes),
            loss_spread=spread,
        )

    def _compile_verdict(self, seconds: float) -> str:
        return compile_verdict(
            self.execution.device,
            iterations=self.job.schedule_length,
            first=self.first_seconds,
            later=(seconds - self.first_seconds) / (len(self.losses) - 1),
        )


@contextmanager
def parameters_frozen(network: nn.Module, names: frozenset[str]) -> Iterator[None]:
    """Within the context the named parameters need no gradient and do not change."""
    frozen = [parameter for name, parameter in network.named_parameters() if name in names]
    for parameter in frozen:
        parameter.requires_grad_(False)
        parameter.grad = None
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def peak_memory_gib(execution: Execution) -> float:
    """The peak memory so far: of the GPU, or of this process."""
    if execution.torch_device.type == "cuda":
        return torch.cuda.max_memory_allocated(execution.torch_device) / 2**30
    return system.peak_memory_gib()


def _source(job: LocalJob, state: TrainingState, shard: tuple[int, int]) -> Source:
    configuration, recipe = job.configuration, job.recipe
    augmentations = [
        augmentation(state.memory, job.context) for augmentation in job.rule.augmentations
    ]
    source = BatchSource(
        store=job.store,
        names=tuple(sorted(job.names)),
        task=job.plan.task,
        augmenter=make_augmenter(
            configuration.patch_vox,
            configuration.use_mask,
            recipe.augmentation,
            first=[step for step in augmentations if step is not None],
        ),
        size=configuration.batch,
        foreground=recipe.foreground,
        seed=state.seed,
        shard=shard,
        supervision=job.supervision,
        weights=job.case_weights,
        balance=recipe.balance,
        second_view=None if job.completion is None else job.completion.second_view,
    )
    return source if job.sampling is None else job.sampling(source, state)
