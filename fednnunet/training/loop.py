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
from fednnunet.training.local import Given, Local
from fednnunet.training.parallel import train_on_devices
from fednnunet.training.patches import PatchStore
from fednnunet.training.recipe import Recipe
from fednnunet.training.state import TrainingState
from fednnunet.training.stretch import Progress, Stretch, run_stretch
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
    total_iterations: int,
    begin: int | None = None,
    local: Local | None = None,
    given: Given | None = None,
    labels_here: Iterable[int] | None = None,
    trains: Callable[[str], bool] | None = None,
    progress: Progress | None = None,
) -> TrainSummary:
    """Train `state` in place for `iterations` of a schedule of `total_iterations`.

    `names` are the store's cases to draw from. `begin` iterations of the schedule lie before these
    (default: `state.step`; a site that missed rounds has seen fewer). `local` is what a federated
    method changes, with what the round has `given` it. `labels_here` are the label values this site
    has annotated (default: all). `trains(name)` says which parameters may change (default: all).
    `progress(done, iterations, figures)` is called after each. With `execution.devices` above 1 a
    process per GPU is started; the parts of `local` must then be importable. Raises
    FedNNUNetError if the loss ceases to be finite.
    """
    stretch = Stretch(
        store=store,
        names=tuple(names),
        plan=plan,
        configuration=configuration,
        recipe=recipe,
        iterations=iterations,
        total_iterations=total_iterations,
        begin=state.step if begin is None else begin,
        local=local or Local(),
        given=given or Given(),
        labels_here=None if labels_here is None else tuple(labels_here),
        frozen=frozenset(
            n for n, _ in state.network.named_parameters() if trains and not trains(n)
        ),
        progress=progress,
    )
    if execution.devices > 1:
        return train_on_devices(state, stretch, execution)
    return run_stretch(state, stretch, execution)


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
