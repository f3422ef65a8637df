"""Scribbles and points teach at their marks alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fednnunet.errors import InputError
from fednnunet.labels.marks import make_marks_loss
from fednnunet.supervision import UNKNOWN, Supervision
from fednnunet.training.recipe import RECIPES
from tests.labels.losses import REGIONS, gradient, logits_like, loss_of
from tests.training.fakes import small_plan, small_task


def marked(share=0.2):
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 3, (2, 6, 6, 6), generator=generator, dtype=torch.int16)
    return labels.masked_fill(torch.rand(labels.shape, generator=generator) > share, UNKNOWN)


@pytest.mark.parametrize("kind", ["scribble", "point"])
def test_it_is_nnunets_loss_over_the_marks(kind):
    labels = marked()
    logits = logits_like(labels)
    known = labels != UNKNOWN
    planes, classes = logits.movedim(1, -1)[known], labels[known].long()
    entropy = F.cross_entropy(planes, classes)
    p, hot = logits.softmax(1)[:, 1:], torch.stack([labels == 1, labels == 2], 1).float()
    axes, mask = (2, 3, 4), known[:, None]
    inter, size = (p * hot).sum(axes), (p * mask).sum(axes) + hot.sum(axes)
    want = entropy - ((2 * inter + 1e-5) / (size + 1e-5)).mean()
    torch.testing.assert_close(loss_of(Supervision(kind=kind))([logits], labels), want)


@pytest.mark.parametrize("regions", [{}, REGIONS])
def test_unmarked_voxels_get_no_gradient(regions):
    labels = marked()
    task = small_task(regions=regions)
    logits = logits_like(labels, task.heads)
    slope = gradient(loss_of(Supervision(kind="scribble"), task=task), logits, labels)
    unmarked = (labels == UNKNOWN)[:, None].expand_as(slope)
    assert not slope[unmarked].any() and slope[~unmarked].all()


def test_marks_of_some_classes_leave_the_others_open():
    labels = marked()
    labels[labels == 2] = 0
    logits = logits_like(labels)
    loss = loss_of(Supervision(kind="scribble", annotated=(1,)))
    swapped = logits.detach()[:, [2, 1, 0]]
    torch.testing.assert_close(loss([swapped], labels), loss([logits], labels).detach())


def test_a_patch_without_a_mark_teaches_nothing():
    labels = torch.full((1, 6, 6, 6), UNKNOWN, dtype=torch.int16)
    logits, loss = logits_like(labels), loss_of(Supervision(kind="point"))
    assert torch.isfinite(loss([logits], labels)) and not gradient(loss, logits, labels).any()


def test_other_labels_are_refused():
    plan, configuration = small_plan()
    with pytest.raises(InputError, match="no unmarked voxels"):
        make_marks_loss(plan.task, Supervision(), configuration, RECIPES["fast"])
