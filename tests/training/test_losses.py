from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fednnunet.errors import InputError
from fednnunet.supervision import Supervision, partial_supervision
from fednnunet.training.losses import Loss, level_weights, make_loss, shrink, soft_dice
from fednnunet.training.recipe import RECIPES
from fednnunet.training.targets import make_targets
from tests.training.fakes import small_plan, small_task


def partial(*annotated):
    return Supervision(kind="partial", annotated=annotated)


def loss(task=None, supervision=None, *, batch_dice=False, levels=(1.0,), **weights):
    targets = make_targets(task or small_task(), supervision)
    return Loss(targets=targets, batch_dice=batch_dice, level_weights=levels, **weights)


def example(outputs=3, high=3):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, outputs, 4, 5, 6, generator=generator, requires_grad=True)
    labels = torch.randint(-1, high, (2, 4, 5, 6), generator=generator, dtype=torch.int16)
    return logits, labels


@pytest.mark.parametrize("batch_dice", [False, True])
def test_it_is_nnunets_loss(batch_dice):
    logits, labels = example()
    classes = labels.clamp_min(0).long()
    p, hot = logits.softmax(1)[:, 1:], F.one_hot(classes, 3).movedim(-1, 1)[:, 1:].float()
    axes = (0, 2, 3, 4) if batch_dice else (2, 3, 4)
    inter, size = (p * hot).sum(axes), p.sum(axes) + hot.sum(axes)
    want = F.cross_entropy(logits, classes) - ((2 * inter + 1e-5) / (size + 1e-5)).mean()
    torch.testing.assert_close(loss(batch_dice=batch_dice)([logits], labels), want)


def test_regions_are_taught_by_sigmoids():
    task = small_task(regions={"whole": (1, 2), "core": (2,)})
    logits, labels = example(2)
    truth = torch.stack([(labels >= 1), (labels == 2)], 1).float()
    p = logits.sigmoid()
    axes = (2, 3, 4)
    inter, size = (p * truth).sum(axes), p.sum(axes) + truth.sum(axes)
    want = F.binary_cross_entropy_with_logits(logits, truth)
    want = want - ((2 * inter + 1e-5) / (size + 1e-5)).mean()
    torch.testing.assert_close(loss(task)([logits], labels), want)


@pytest.mark.parametrize("regions", [{}, {"whole": (1, 2), "core": (2,)}])
@pytest.mark.parametrize("batch_dice", [False, True])
def test_ignored_voxels_enter_no_term(regions, batch_dice):
    task = small_task(ignore=3, regions=regions)
    logits, labels = example(task.heads, high=4)
    assert (labels == 3).any()
    value = loss(task, batch_dice=batch_dice)([logits], labels)
    value.backward()
    ignored = (labels == 3)[:, None].expand_as(logits)
    assert logits.grad[ignored].abs().max() == 0
    assert logits.grad[~ignored].abs().max() > 0
    changed = torch.where(ignored, torch.full_like(logits, 9.0), logits.detach())
    torch.testing.assert_close(loss(task, batch_dice=batch_dice)([changed], labels), value.detach())


def test_all_ignored_is_finite():
    task = small_task(ignore=3)
    logits, labels = example()
    value = loss(task)([logits], torch.full_like(labels, 3))
    value.backward()
    assert torch.isfinite(value) and not logits.grad.any()


def test_a_label_that_is_not_annotated_is_never_taught_as_background():
    logits, labels = example()
    labels[labels == 2] = 0  # the labels annotate class 1 alone
    marginal = loss(supervision=partial(1))
    value = marginal([logits], labels)
    swapped = logits.detach()[:, [2, 1, 0]]  # moves probability between background and label 2
    torch.testing.assert_close(marginal([swapped], labels), value.detach())
    value.backward()
    background = labels <= 0
    ratio = (
        logits.grad[:, 2] * logits.softmax(1)[:, 0] - logits.grad[:, 0] * logits.softmax(1)[:, 2]
    )
    assert ratio[background].abs().max() < 1e-7  # both are pulled by their own probability alike


def test_a_site_that_annotates_all_has_the_plain_loss():
    logits, labels = example()
    everything = partial_supervision((0, 1, 2), small_task())
    found, plain = loss(supervision=everything)([logits], labels), loss()([logits], labels)
    torch.testing.assert_close(found, plain, rtol=0, atol=0)


def test_regions_with_a_label_that_is_not_annotated_are_left_out():
    task = small_task(regions={"whole": (1, 2), "core": (2,)})
    logits, labels = example(2)
    value = loss(task, partial(2))([logits], labels)
    value.backward()
    assert not logits.grad[:, 0].any() and logits.grad[:, 1].any()
    with pytest.raises(InputError, match="no region"):
        make_targets(task, partial(1))


def test_levels_are_weighted_and_the_lowest_is_left_out():
    assert level_weights(3, deep_supervision=True) == pytest.approx((2 / 3, 1 / 3))
    assert level_weights(3, deep_supervision=False) == (1.0,)
    assert level_weights(1, deep_supervision=True) == (1.0,)
    logits, labels = example()
    coarse = torch.randn(2, 3, 2, 3, 3)
    both = loss(levels=(0.75, 0.25))
    one, two = loss()([logits], labels), loss()([coarse], shrink(labels, (2, 3, 3)))
    torch.testing.assert_close(both([logits, coarse], labels), 0.75 * one + 0.25 * two)


def test_shrinking_takes_the_nearest_voxel_and_keeps_minus_one():
    labels = torch.full((1, 4, 4), -1, dtype=torch.int16)
    labels[:, 2:] = 2
    small = shrink(labels, (2, 2))
    assert small.dtype == torch.int16 and small[0].tolist() == [[-1, -1], [2, 2]]


def test_dice_of_what_is_neither_there_nor_found_is_one():
    none = torch.zeros(1, 1, 2, 2)
    assert soft_dice(none, none.bool(), None, batch_dice=False) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["box", "none"])
def test_labels_that_are_no_map_are_refused(kind):
    plan, configuration = small_plan()
    with pytest.raises(InputError, match="no label map"):
        make_loss(plan.task, Supervision(kind=kind), configuration, RECIPES["fast"])
