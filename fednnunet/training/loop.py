"""Training between two exchanges, and the check on held-out patches: what a site calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from fednnunet.planning.plan import Configuration, Plan
from fednnunet.training.augment import plain_augmenter
from fednnunet.training.batches import BatchSource
from fednnunet.training.counts import DiceCounts, as_counts, count_dice
from fednnunet.training.device import Execution
from fednnunet.training.local_job import LocalJob, Progress, run_local_job
from fednnunet.training.local_rule import LocalRule, RoundContext
from fednnunet.training.parallel import train_on_devices
from fednnunet.training.patches import PatchStore
from fednnunet.training.recipe import Recipe
from fednnunet.training.state import TrainingState
from fednnunet.training.summary import TrainSummary
from fednnunet.training.targets import make_targets


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
    schedule_length: int,
    schedule_start: int | None = None,
    local_rule: LocalRule | None = None,
    context: RoundContext | None = None,
    labels_here: Iterable[int] | None = None,
    trains: Callable[[str], bool] | None = None,
    progress: Progress | None = None,
) -> TrainSummary:
    """Train `state` in place for `iterations` of a schedule of `schedule_length`.

    `names` are the store's cases to draw from. `schedule_start` is the number of the schedule's
    iterations before these (default: `state.step`; a site that missed rounds has seen fewer).
    `local_rule` is what a federated method changes in the round's `context`. `labels_here` are the
    label values that this site annotates (default: all). `trains(name)` says which parameters may
    change (default: all).
    `progress(done, iterations, figures)` is called after each. With `execution.devices` above 1 a
    process per GPU is started; the parts of `local_rule` must then be importable. Raises
    FedNNUNetError if the loss ceases to be finite.
    """
    local_job = LocalJob(
        store=store,
        names=tuple(names),
        plan=plan,
        configuration=configuration,
        recipe=recipe,
        iterations=iterations,
        schedule_length=schedule_length,
        schedule_start=state.step if schedule_start is None else schedule_start,
        local_rule=local_rule or LocalRule(),
        context=context or RoundContext(),
        labels_here=None if labels_here is None else tuple(labels_here),
        frozen=frozenset(
            n for n, _ in state.network.named_parameters() if trains and not trains(n)
        ),
        progress=progress,
    )
    if execution.devices > 1:
        return train_on_devices(state, local_job, execution)
    return run_local_job(state, local_job, execution)


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
    memory_format = execution.device.memory_format(len(configuration.patch_vox))
    total = torch.zeros((3, len(targets.names)), dtype=torch.int64, device=execution.torch_device)
    was_training = network.training
    network.eval()
    with torch.no_grad(), execution.device.autocast():
        for step in range(count):
            batch = source[step].to(execution.torch_device)
            for i in range(len(batch)):
                part = batch.part(i, i + 1)
                logits: Tensor = network(part.image.to(memory_format=memory_format))
                total += count_dice(logits, part.labels, targets)
    network.train(was_training)
    return as_counts(total, targets.names)
