"""Which loss each kind of labels has, and batches that mix kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch

from fednnunet.device import Device
from fednnunet.labels.loss import LOSSES, make_loss
from fednnunet.supervision import UNKNOWN, SiteSupervision, Supervision, SupervisionKind
from fednnunet.training.batches import Batch
from fednnunet.training.losses import make_loss as make_map_loss
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from tests.training.fakes import CPU, small_plan, small_task, train_on_cpu
from tests.training.mixed import MIXED
from tests.training.steps import META, batch, state, stepper

KINDS = {
    "full": Supervision(),
    "partial": Supervision(kind="partial", annotated=(2,)),
    "scribble": Supervision(kind="scribble"),
    "point": Supervision(kind="point", annotated=(1,)),
    "pseudo": Supervision(kind="pseudo"),
    "box": Supervision(kind="box"),
    "image": Supervision(kind="image", present=(1,), absent=(2,)),
    "none": Supervision(kind="none"),
}
SITE = SiteSupervision(cases=dict(zip("abcdefgh", KINDS.values(), strict=True)))
REGIONS = {"whole": (1, 2), "core": (2,)}


def mixed(axes=3):
    """One sample of each kind."""
    plain = batch(len(KINDS), axes)
    labels = plain.labels.clamp_min(0)
    sparse = labels.masked_fill(torch.rand(labels.shape) > 0.2, UNKNOWN)
    rows = []
    for row, supervision in enumerate(KINDS.values()):
        if supervision.kind in ("scribble", "point", "pseudo"):
            rows.append(sparse[row])
        elif supervision.kind in ("image", "none"):
            rows.append(torch.full_like(labels[row], UNKNOWN))
        else:
            rows.append(labels[row])
    return Batch(plain.image, torch.stack(rows), tuple(KINDS.values()))


def a_stepper(execution=CPU, **changes):
    return stepper(
        execution, micro_batch=8, batch=8, names="abcdefgh", supervision=SITE, make_loss=make_loss,
        **changes,
    )  # fmt: skip


def test_every_kind_has_a_loss():
    assert set(LOSSES) == set(get_args(SupervisionKind)) == set(KINDS)


@pytest.mark.parametrize("kind", ["full", "partial"])
def test_full_and_partial_maps_have_the_loss_of_label_maps(kind):
    plan, configuration = small_plan()
    chosen, plain = (
        make(plan.task, KINDS[kind], configuration, RECIPES["nnunet"])
        for make in (make_loss, make_map_loss)
    )
    assert chosen == plain


def test_a_training_on_full_and_partial_maps_is_the_same_bit_for_bit():
    ends = []
    for changes in ({}, {"make_loss": make_loss}):
        trained = new_state(*small_plan(), RECIPES["fast"], CPU, seed=1)
        train_on_cpu(trained, iterations=2, supervision=MIXED, **changes)
        ends.append(trained.network.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("regions", [{}, REGIONS])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_step_on_a_batch_of_all_kinds_is_finite(axes, regions, precision):
    task = small_task(regions=regions)
    kinds = tuple(
        Supervision(kind="point", annotated=(1, 2)) if kind.kind == "point" else kind
        for kind in KINDS.values()
    )
    site = SiteSupervision(cases=dict(zip("abcdefgh", kinds, strict=True)))
    execution = replace(CPU, device=Device(precision=precision))
    whole = stepper(
        execution, micro_batch=8, batch=8, axes=axes, task=task, names="abcdefgh", supervision=site,
        make_loss=make_loss,
    )  # fmt: skip
    begun = state(execution, patch=(8,) * axes, task=task)
    loss, counts = whole(begun, replace(mixed(axes), supervision=kinds))
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p).all() for p in begun.network.parameters())
    assert counts.sum() > 0


def test_the_loss_of_a_mixed_batch_is_the_mean_of_its_samples():
    whole, kinds = a_stepper(), mixed()
    with torch.no_grad():
        logits = state().network(kinds.image)
    one_by_one = [
        whole.losses[sample.supervision[0]](
            [level[row : row + 1] for level in logits], sample.labels
        )
        for row, sample in enumerate(kinds.samples())
    ]
    loss, _ = whole(state(), kinds)
    torch.testing.assert_close(loss, torch.stack(one_by_one).mean())


def test_it_runs_on_a_device_without_content():
    """So no value is read that a GPU would have to be waited for."""
    whole = a_stepper(META)
    begun = state(META)
    parts = whole.losses[KINDS["full"]].level_weights
    for sample in mixed().samples():
        on_meta = sample.to(torch.device("meta"))
        levels = begun.network(on_meta.image)[: len(parts)]
        loss = whole.losses[sample.supervision[0]](levels, on_meta.labels)
        loss.backward()
        assert loss.is_meta and loss.shape == ()


def test_boxes_images_and_none_count_no_dice():
    kinds = mixed()
    whole = a_stepper()
    for name in ("box", "image", "none"):
        row = list(KINDS).index(name)
        _, counts = whole(state(), kinds.part(row, row + 1))
        assert counts.tolist() == [[0, 0]] * 3


def test_without_labels_the_gradient_is_zero_also_with_a_scaler():
    kinds = mixed()
    row = list(KINDS).index("none")
    begun = state()
    begun.scaler = torch.amp.GradScaler("cpu", enabled=True)
    whole = a_stepper()
    whole.gradient(begun, 1, kinds.part(row, row + 1))
    found = [p.grad for p in begun.network.parameters() if p.grad is not None]
    assert found and not any(grad.any() for grad in found)


def test_the_batches_of_sparse_labels_stay_whole():
    from fednnunet.training.step import samples_at_once

    assert samples_at_once(a_stepper().job, CPU) == 8
