"""The loop that every site runs between two exchanges, and the check on held-out patches."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fednnunet.errors import FedNNUNetError
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.training.augment import make_augmenter, plain_augmenter
from fednnunet.training.batches import BatchSource, batches
from fednnunet.training.counts import DiceCounts, as_counts, count_dice
from fednnunet.training.device import Execution
from fednnunet.training.losses import Loss, level_weights
from fednnunet.training.patches import PatchStore
from fednnunet.training.recipe import Recipe, rate_at
from fednnunet.training.state import TrainingState
from fednnunet.training.step import LocalTerm, Stepper, set_rate, step_with_fallback
from fednnunet.training.targets import Targets, make_targets

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSummary:
    """What a stretch of training was like; `dice` is over its own (augmented) patches.

    `wait_seconds` were spent waiting for batches, of `seconds` in all. `rate` is the last one.
    """

    iterations: int
    loss: float
    rate: float
    seconds: float
    wait_seconds: float
    memory_gib: float
    micro_batch: int
    dice: DiceCounts

    @property
    def wait_share(self) -> float:
        """Share of the time in which the network waited for data."""
        return self.wait_seconds / self.seconds if self.seconds else 0.0


def train(
    state: TrainingState,
    store: PatchStore,
    names: Sequence[str],
    *,
    plan: Plan,
    configuration: Configuration,
    recipe: Recipe,
    execution: Execution,
    iterations: int,
    total_iterations: int,
    local_term: LocalTerm | None = None,
    labels_here: Iterable[int] | None = None,
    trains: Callable[[str], bool] | None = None,
    progress: Progress | None = None,
    share: tuple[int, int] = (0, 1),
) -> TrainSummary:
    """Train `state` in place for `iterations` of the federation's `total_iterations`.

    `names` are the store's cases to draw from. `local_term(network)` is added to the loss.
    `labels_here` are the label values this site has annotated (default: all). `trains(name)` says
    which parameters may change (default: all); the others are frozen. `share` is (rank, ranks) in
    training on several GPUs. Raises FedNNUNetError if the loss ceases to be finite.
    """
    targets = make_targets(plan.task, labels_here)
    source = BatchSource(
        store=store,
        names=tuple(sorted(names)),
        task=plan.task,
        augmenter=make_augmenter(
            configuration.patch_vox, configuration.use_mask, recipe.augmentation
        ),
        size=configuration.batch,
        foreground=recipe.foreground,
        seed=state.seed,
        share=share,
    )
    stepper = _stepper(configuration, recipe, execution, targets, plan.norm, local_term, share[1])
    state.network.train()
    if execution.compile and state.compiled is None:
        state.compiled = torch.compile(state.network)
    with frozen(state.network, trains):
        return _run(state, source, stepper, recipe, iterations, total_iterations, progress)


def _run(
    state: TrainingState,
    source: BatchSource,
    stepper: Stepper,
    recipe: Recipe,
    iterations: int,
    total: int,
    progress: Progress | None,
) -> TrainSummary:
    execution = stepper.execution
    begin, wait = time.perf_counter(), 0.0
    losses: list[Tensor] = []
    counts: Tensor | int = 0
    stop = state.step + iterations
    made = batches(source, state.step, stop, workers=execution.workers, pin=execution.pin)
    for done in range(1, iterations + 1):
        waiting = time.perf_counter()
        batch = next(made)
        wait += time.perf_counter() - waiting
        set_rate(state.optimiser, rate_at(recipe, state.step, total))
        stepper, (loss, counted) = step_with_fallback(stepper, state, batch)
        losses.append(loss)
        counts = counts + counted
        state.step += 1
        if progress:
            progress(done, iterations, _line(loss, done, time.perf_counter() - begin, execution))
    mean = float(torch.stack(losses).mean()) if losses else 0.0
    _check_finite(mean)
    names = stepper.loss.targets.names
    return TrainSummary(
        iterations=iterations,
        loss=mean,
        rate=rate_at(recipe, max(state.step - 1, 0), total),
        seconds=time.perf_counter() - begin,
        wait_seconds=wait,
        memory_gib=peak_memory_gib(execution),
        micro_batch=stepper.micro_batch,
        dice=as_counts(counts, names) if isinstance(counts, Tensor) else DiceCounts.empty(names),
    )


def validate_patches(
    network: nn.Module,
    store: PatchStore,
    names: Sequence[str],
    *,
    plan: Plan,
    configuration: Configuration,
    execution: Execution,
    count: int,
    seed: int = 0,
    labels_here: Iterable[int] | None = None,
) -> DiceCounts:
    """Pseudo-Dice: counts over `count` batches of unchanged patches of held-out cases.

    The same `seed` draws the same patches, so rounds can be compared.
    """
    targets = make_targets(plan.task, labels_here)
    source = BatchSource(
        store=store,
        names=tuple(sorted(names)),
        task=plan.task,
        augmenter=plain_augmenter(configuration.patch_vox),
        size=configuration.batch,
        foreground=0.33,
        seed=seed,
    )
    was_training = network.training
    network.eval()
    total: Tensor | int = 0
    memory_format = execution.memory_format(len(configuration.patch_vox))
    with torch.no_grad(), execution.autocast():
        for step in range(count):
            batch = source[step].to(execution.torch_device)
            for i in range(len(batch)):
                part = batch.part(i, i + 1)
                logits = network(part.image.to(memory_format=memory_format))
                total = total + count_dice(logits, part.labels, targets)
    network.train(was_training)
    names_ = targets.names
    return as_counts(total, names_) if isinstance(total, Tensor) else DiceCounts.empty(names_)


@contextmanager
def frozen(network: nn.Module, trains: Callable[[str], bool] | None) -> Iterator[None]:
    """Keep every parameter that `trains` refuses from changing, for a while."""
    if trains is None:
        yield
        return
    kept = [p for name, p in network.named_parameters() if not trains(name)]
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


def samples_at_once(configuration: Configuration, norm: str, execution: Execution) -> int:
    """Samples that go through the network together.

    On a CPU one at a time is faster, since its feature maps fit the cache, and takes a fraction of
    the memory. It is done where it computes the same: with instance normalisation and a Dice per
    sample. Otherwise the batch stays whole unless the execution bounds it.
    """
    if execution.micro_batch is not None:
        return min(execution.micro_batch, configuration.batch)
    alike = norm == "instance" and not configuration.batch_dice
    return 1 if alike and execution.torch_device.type == "cpu" else configuration.batch


def _stepper(
    configuration: Configuration,
    recipe: Recipe,
    execution: Execution,
    targets: Targets,
    norm: str,
    local_term: LocalTerm | None,
    ranks: int,
) -> Stepper:
    levels = len(configuration.architecture.stages) - 1
    loss = Loss(
        targets=targets,
        batch_dice=configuration.batch_dice,
        level_weights=level_weights(levels, deep_supervision=recipe.deep_supervision),
        dice_weight=recipe.dice_weight,
        entropy_weight=recipe.entropy_weight,
    )
    return Stepper(
        loss=loss,
        execution=execution,
        micro_batch=samples_at_once(configuration, norm, execution),
        batch=configuration.batch,
        clip=recipe.clip,
        axes=len(configuration.patch_vox),
        local_term=local_term,
        ranks=ranks,
    )


def _line(loss: Tensor, done: int, seconds: float, execution: Execution) -> str:
    shown = f"loss {float(loss):.3f}, " if execution.torch_device.type == "cpu" else ""
    return f"{shown}{seconds / done:.2f} s/iteration, {peak_memory_gib(execution):.1f} GiB"


def _check_finite(loss: float) -> None:
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise FedNNUNetError(
            "the training loss is no longer finite",
            mend="lower the recipe's rate, or check the intensities of this site's images",
        )
