from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fednnunet.device import Device
from fednnunet.errors import FedNNUNetError
from fednnunet.network.roles import role
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.evaluate_patches import count_patches
from fednnunet.training.recipe import RECIPES
from fednnunet.training.step import samples_at_once
from tests.training.fakes import CPU, a_job, blobs, names_of, small_plan, small_task
from tests.training.runs import run, unaugmented


def test_it_learns_blobs():
    state, summary, plan, configuration, store = run(60, features=(8, 16), batch=4)
    patches = unaugmented(store, plan, configuration)
    counts = count_patches(state.network, [patches[i] for i in range(4)], plan.task, CPU)
    assert counts.mean > 0.6
    assert state.step == 60 and state.network.training
    assert 0 < summary.wait_share < 1 and summary.memory_gib > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"patch": (8, 8)},
        {"kind": "residual"},
        {"norm": "batch", "batch_dice": True},
        {"task": small_task(channels=("T1", "T2"))},
        {"task": small_task(regions={"whole": (1, 2), "core": (2,)})},
        {"use_mask": True},
    ],
)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_kind_of_plan_trains(changes, recipe):
    _, summary, plan, *_ = run(2, recipe=recipe, **changes)
    assert summary.iterations == 2 and np.isfinite(summary.loss)
    assert summary.dice.names == plan.task.targets


def test_only_what_may_change_changes():
    fresh, *_ = run(0)
    frozen = names_of(fresh, lambda name: role(name) != "head")
    state, *_ = run(2, options={"frozen": frozen})
    after, before = state.network.state_dict(), fresh.network.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed and {role(name) for name in changed} == {"head"}
    assert all(p.requires_grad for p in state.network.parameters())


def test_partial_labels_train_and_count_only_what_is_annotated():
    partial = SiteSupervision(default=Supervision(kind="partial", annotated=(2,)))
    _, summary, *_ = run(2, options={"supervision": partial})
    assert summary.dice.tp[0] == summary.dice.fp[0] == summary.dice.fn[0] == 0
    assert summary.dice.fn[1] + summary.dice.tp[1] > 0


def test_progress_tells_of_every_iteration():
    told = []
    run(3, options={"progress": lambda *figures: told.append(figures)})
    assert [(done, total) for done, total, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert "loss" in told[-1][2] and "s/iteration" in told[-1][2] and "waiting" in told[-1][2]


def test_an_infinite_loss_is_an_error():
    store = blobs()
    for case in store.cases.values():
        case.data[:] = np.inf
    with pytest.raises(FedNNUNetError, match="finite"):
        run(1, store=store)


def test_samples_go_singly_only_where_it_computes_the_same():
    def job(**changes):
        plan, configuration = small_plan(batch=6, **changes)
        return a_job(plan=plan, configuration=configuration)

    assert samples_at_once(job(), CPU) < 6
    assert samples_at_once(job(), replace(CPU, device=Device(precision="bfloat16"))) == 6
    assert samples_at_once(job(norm="batch"), CPU) == 6
    assert samples_at_once(job(batch_dice=True), CPU) == 6
    assert samples_at_once(job(task=small_task(ignore=3)), CPU) == 6
    unknown = SiteSupervision(cases={"case1": Supervision(kind="scribble")})
    assert samples_at_once(replace(job(), supervision=unknown), CPU) == 6


def test_a_batch_with_an_ignore_label_is_trained_whole():
    """Each part's cross-entropy would be a mean over its own annotated voxels."""
    _, split, *_ = run(1, batch=6)
    _, whole, *_ = run(1, batch=6, task=small_task(ignore=3))
    assert (split.micro_batch, whole.micro_batch) == (2, 6)
