"""Short trainings of small networks, and unaugmented patches to evaluate them on."""

from __future__ import annotations

from fednnunet.training.augment import plain_augmenter
from fednnunet.training.batches import BatchSource
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from tests.training.fakes import CPU, blobs, small_plan, train_on_cpu


def run(iterations=3, *, recipe="fast", store=None, seed=1, options=None, **changes):
    plan, configuration = small_plan(**changes)
    store = store or blobs(channels=len(plan.task.channels))
    state = new_state(plan, configuration, RECIPES[recipe], CPU, seed=seed)
    summary = train_on_cpu(
        state,
        store=store,
        plan=plan,
        configuration=configuration,
        recipe=RECIPES[recipe],
        iterations=iterations,
        schedule_length=iterations,
        **(options or {}),
    )
    return state, summary, plan, configuration, store


def unaugmented(store, plan, configuration, seed=0):
    return BatchSource(
        store=store,
        names=store.names,
        task=plan.task,
        augmenter=plain_augmenter(configuration.patch_vox),
        size=configuration.batch,
        foreground=0.33,
        seed=seed,
    )
