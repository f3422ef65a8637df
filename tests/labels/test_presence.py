"""What it teaches that a class is in the volume, or not."""

from __future__ import annotations

import math

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.labels.presence import ELSEWHERE, holds_the_volume, outputs_with
from fednnunet.supervision import UNKNOWN, Supervision
from tests.labels.losses import REGIONS, descend, gradient, logits_like, loss_of
from tests.training.fakes import small_task


def image(present=(), absent=()):
    return Supervision(kind="image", present=present, absent=absent)


def unknown(*, whole=False, shape=(1, 6, 6, 6)):
    labels = torch.full(shape, UNKNOWN, dtype=torch.int16)
    if whole:
        inner = labels[:, 1:-1, 1:-1, 1:-1].clone()
        labels[:] = -1
        labels[:, 1:-1, 1:-1, 1:-1] = inner
    return labels


def test_an_absent_class_is_pushed_down_everywhere_and_nothing_else_is_taught():
    labels = unknown()
    logits = logits_like(labels)
    loss = loss_of(image(absent=(2,)))
    p = logits.detach().softmax(1)
    assert float(loss([logits], labels)) == pytest.approx(
        float(-torch.log(1 - p[:, 2]).mean()), rel=1e-5
    )
    slope = gradient(loss, logits, labels)
    assert (slope[:, 2] > 0).all()
    alike = slope[:, 0] * p[:, 1] - slope[:, 1] * p[:, 0]
    assert alike.abs().max() < 1e-8  # background and class 1 rise by their probabilities alike
    assert descend(loss, logits, labels).softmax(1)[:, 2].max() < 0.05


def test_a_present_class_is_asked_for_somewhere_where_the_patch_holds_the_volume():
    labels = unknown(whole=True)
    logits = logits_like(labels)
    loss = loss_of(image(present=(1,)))
    inside = labels != -1
    best = logits.detach().softmax(1)[:, 1][inside].max()
    assert float(loss([logits], labels)) == pytest.approx(-math.log(best), rel=1e-5)
    slope = gradient(loss, logits, labels)
    assert (slope[:, 1] < 0).sum() == 1  # at the likeliest voxel only
    assert not slope[:, :, ~inside[0]].any()


def test_elsewhere_it_only_helps_a_guess():
    labels = unknown()
    logits = logits_like(labels)
    loss = loss_of(image(present=(1,)))
    best = float(logits.detach().softmax(1)[:, 1].max())
    assert float(loss([logits], labels).detach()) == pytest.approx(ELSEWHERE * (1 - best), rel=1e-5)
    sure = torch.zeros(1, 3, 6, 6, 6)
    sure[:, 0] = 12  # of the background
    assert gradient(loss, sure.requires_grad_(), labels).abs().max() < 1e-5


def test_a_patch_holds_the_volume_where_all_faces_lie_outside():
    labels = torch.cat([unknown(whole=True), unknown(), unknown(whole=True)])
    labels[2, 3, 3, -1] = UNKNOWN
    assert holds_the_volume(labels).tolist() == [True, False, False]
    assert holds_the_volume(torch.full((2, 4, 4), -1)).tolist() == [False, False]


def test_a_patch_without_a_voxel_of_the_volume_teaches_no_presence():
    labels = torch.full((1, 6, 6, 6), -1, dtype=torch.int16)
    logits = logits_like(labels)
    loss = loss_of(image(present=(1,)))
    assert float(loss([logits], labels)) == 0 and not gradient(loss, logits, labels).any()


def test_outputs_of_labels_and_of_regions():
    task = small_task(regions=REGIONS)
    assert outputs_with(small_task(), (2, 1), alone=True) == (1, 2)
    assert outputs_with(task, (2,), alone=False) == (0, 1)  # class 2 lies in both
    assert outputs_with(task, (2,), alone=True) == (1,)
    assert outputs_with(task, (1, 2), alone=True) == (0, 1)


def test_regions_by_hand():
    labels = unknown(whole=True)
    logits = logits_like(labels, 2)
    loss = loss_of(image(present=(1,), absent=(2,)), task=small_task(regions=REGIONS))
    p = logits.detach().sigmoid()
    inside = labels != -1
    want = -torch.log(1 - p[:, 1]).mean() - torch.log(p[:, 0][inside].max())
    assert float(loss([logits], labels)) == pytest.approx(float(want), rel=1e-5)


def test_a_batch_is_the_mean_of_its_samples():
    labels = torch.cat([unknown(whole=True), unknown()])
    logits, loss = logits_like(labels), loss_of(image(present=(1,), absent=(2,)))
    one_by_one = [loss([logits[i : i + 1]], labels[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss([logits], labels), torch.stack(one_by_one).mean())


def test_a_class_that_the_task_lacks_is_refused():
    with pytest.raises(InputError, match="classes 7"):
        loss_of(image(present=(7,)))
