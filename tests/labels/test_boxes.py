"""What boxes teach, and what they do not."""

from __future__ import annotations

import math

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.labels.boxes import ShareBounds, profiles
from fednnunet.labels.levels import NOWHERE
from fednnunet.supervision import Supervision
from fednnunet.training.losses import shrink
from tests.labels.losses import REGIONS, descend, gradient, logits_like, loss_of
from tests.training.fakes import small_task

BOX = Supervision(kind="box")


def bits(*boxes, shape=(10, 10, 10)):
    """A map of boxes (value, low, high)."""
    out = torch.zeros(1, *shape, dtype=torch.int16)
    for value, low, high in boxes:
        place = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        out[(0, *place)] |= 1 << (value - 1)
    return out


def tightness(log_p, inside):
    return profiles(torch.where(inside, log_p, NOWHERE), inside)[0]


def extent(mask):
    places = mask.nonzero()
    return tuple(places.min(0).values.tolist()), tuple((places.max(0).values + 1).tolist())


def test_objects_end_inside_their_boxes_and_touch_all_sides():
    boxes = ((1, (2, 3, 1), (6, 8, 5)), (2, (4, 5, 3), (8, 9, 6)))  # they overlap
    labels = bits(*boxes)
    best = descend(loss_of(BOX), logits_like(labels), labels).argmax(1)[0]
    for value, low, high in boxes:
        assert extent(best == value) == (low, high)


def test_regions_end_inside_their_boxes_and_touch_all_sides():
    labels = bits((1, (2, 3, 1), (6, 8, 5)), (2, (4, 5, 3), (8, 9, 6)))
    loss = loss_of(BOX, task=small_task(regions=REGIONS))
    best = descend(loss, logits_like(labels, 2), labels)[0] > 0
    assert extent(best[0]) == ((2, 3, 1), (8, 9, 6))  # around both boxes
    assert extent(best[1]) == ((4, 5, 3), (8, 9, 6))


def test_the_terms_by_hand():
    """One box of 2 x 1 x 1 voxels of class 1 in the middle of 4 x 3 x 3; none of class 2."""
    labels = bits((1, (1, 1, 1), (3, 2, 2)), shape=(4, 3, 3))
    p = torch.tensor([0.5, 0.3, 0.2])  # everywhere, but for one voxel in the box
    planes = p.log()[None, :, None, None, None].repeat(1, 1, 4, 3, 3)
    planes[0, :, 1, 1, 1] = torch.tensor([0.1, 0.8, 0.1]).log()
    outside = -(34 * math.log(0.5) + math.log(0.9) + math.log(0.8)) / 36
    # slices through the box: two along z, with 0.8 and 0.3; one along y and one along x, with 0.8
    tight = -(3 * math.log(0.8) + math.log(0.3)) / 4
    projected = (2 * 2.7 / (2.7 + 4) + 1) / 2  # class 2 has no slice
    contained = (1.1 / (0.3 * 35 + 0.8) + 1e-5 / (0.2 * 35 + 0.1)) / 2
    above = math.log(0.4 / (1 - 0.55))  # 0.55 lies within 0.1 and 0.6
    assert above < 0
    want = outside + tight - (projected + contained) / 2
    assert float(loss_of(BOX)([planes], labels)) == pytest.approx(want, abs=1e-5)


def test_shares_are_bounded_on_both_sides():
    share = torch.tensor([[0.05, 0.1, 0.35, 0.6, 0.8]])
    want = [math.log(2), 0, 0, 0, math.log(2)]
    found = ShareBounds(low=0.1, high=0.6)(share)
    torch.testing.assert_close(found[0], torch.tensor(want), atol=1e-6, rtol=0)
    assert torch.isfinite(ShareBounds()(torch.tensor([[0.0, 1.0]]))).all()


def test_nothing_of_a_class_is_taught_outside_of_its_box_and_the_rest_is_open():
    labels = bits((1, (2, 2, 2), (5, 5, 5)))
    logits = logits_like(labels)
    slope = gradient(loss_of(BOX, dice_weight=0.0), logits, labels)
    outside = labels[0] == 0
    assert (slope[0, 1:, outside] > 0).all() and (slope[0, 0, outside] < 0).all()
    inside = ~outside
    assert (slope[0, 2, inside] > 0).all()  # class 2 has no box at all
    assert (slope[0, 1, inside] <= 0).all()  # class 1 is only ever asked for


def test_a_class_that_was_not_looked_for_is_never_pushed_down():
    labels = bits((1, (2, 2, 2), (5, 5, 5)))
    logits = logits_like(labels)
    loss = loss_of(Supervision(kind="box", annotated=(1,)))
    swapped = logits.detach()[:, [2, 1, 0]]
    torch.testing.assert_close(loss([swapped], labels), loss([logits], labels).detach())
    slope = gradient(loss, logits, labels)
    p = logits.detach().softmax(1)
    alike = slope[:, 2] * p[:, 0] - slope[:, 0] * p[:, 2]
    assert alike.abs().max() < 1e-7  # it and the background get the same, by their probabilities


def test_of_a_cut_box_only_whole_slices_ask_for_the_object():
    inside = bits((1, (0, 2, 2), (3, 5, 5)))[:, None] > 0  # it goes on beyond z = 0
    log_p = torch.full(inside.shape, 0.5).log().requires_grad_()
    tight = tightness(log_p, inside)
    assert float(tight.detach()) == pytest.approx(math.log(2))
    (slope,) = torch.autograd.grad(tight, log_p)
    per_slice = [slope[0, 0, z].sum().item() for z in range(10)]
    # (y, x) slices are whole; the sums over the slices of y and x run through the cut part
    assert per_slice == pytest.approx([-1 / 3] * 3 + [0.0] * 7)


def test_a_box_that_is_cut_on_two_axes_teaches_the_outside_only():
    labels = bits((1, (0, 2, 0), (3, 5, 3)))
    logits = logits_like(labels)
    loss = loss_of(Supervision(kind="box", annotated=(1,)), dice_weight=0.0)
    slope = gradient(loss, logits, labels).abs()
    inside = labels[0] > 0
    assert slope[0, :, inside].max() < 1e-9 and slope[0, :, ~inside].min() > 1e-8


def test_two_boxes_of_a_class_each_get_an_object():
    boxes = ((1, (1, 1, 1), (4, 4, 4)), (1, (6, 6, 6), (9, 8, 9)))
    labels = bits(*boxes)
    best = descend(loss_of(BOX), logits_like(labels), labels).argmax(1)[0] == 1
    assert extent(best[:5]) == ((1, 1, 1), (4, 4, 4))
    assert extent(best[5:]) == ((1, 6, 6), (4, 8, 9))


def test_in_2d_a_section_of_a_box_meets_the_object_somewhere():
    labels = bits((1, (2, 3), (6, 8)), shape=(10, 10))
    p = logits_like(labels, 1).detach().sigmoid()
    best = float(p[0, 0, 2:6, 3:8].max())
    assert float(tightness(p.log(), labels[:, None] > 0)) == pytest.approx(
        -math.log(best), rel=1e-5
    )
    best = descend(loss_of(BOX, patch=(10, 10)), logits_like(labels), labels).argmax(1)[0]
    assert (best[2:6, 3:8] == 1).any() and not best[labels[0] == 0].any()
    cut = bits((1, (0, 3), (6, 8)), shape=(10, 10))
    assert float(tightness(p.log(), cut[:, None] > 0)) == 0


def test_outside_of_the_volume_is_in_no_box():
    labels = bits((1, (2, 2, 2), (5, 5, 5)))
    beyond = labels.clone()
    beyond[:, 8:] = -1
    logits, loss = logits_like(labels), loss_of(BOX)
    assert torch.equal(loss([logits], beyond), loss([logits], labels))


def test_the_highest_class_has_a_bit():
    task = small_task(labels=("background", *(f"class {i}" for i in range(1, 16))))
    labels = bits((15, (2, 2, 2), (5, 5, 5)))
    inside = loss_of(BOX, task=task).inside(labels)
    assert inside.shape[1] == 15
    assert inside.sum((0, 2, 3, 4)).tolist() == [0] * 14 + [27]


def test_resolutions_are_weighted_and_bits_are_shrunk():
    labels = bits((1, (2, 2, 2), (6, 6, 6)), shape=(8, 8, 8))
    loss = loss_of(BOX, features=(4, 6, 8))
    fine, coarse = logits_like(labels), logits_like(torch.zeros(1, 4, 4, 4))
    small = shrink(labels, (4, 4, 4))
    assert loss.level_weights == pytest.approx((1.0,))
    deep = loss_of(BOX, features=(4, 6, 8, 8))
    want = 2 / 3 * loss([fine], labels) + 1 / 3 * loss([coarse], small)
    torch.testing.assert_close(deep([fine, coarse], labels), want)


def test_a_batch_is_the_mean_of_its_samples():
    labels = torch.cat([bits((1, (2, 2, 2), (5, 5, 5))), bits((2, (0, 1, 1), (9, 9, 9))), bits()])
    logits, loss = logits_like(labels), loss_of(BOX)
    one_by_one = [loss([logits[i : i + 1]], labels[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss([logits], labels), torch.stack(one_by_one).mean())


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_values_and_gradients_are_finite(scale):
    labels = bits((1, (2, 2, 2), (5, 5, 5)))
    logits = (scale * logits_like(labels).detach()).requires_grad_()
    for task in (small_task(), small_task(regions=REGIONS)):
        loss = loss_of(BOX, task=task)
        planes = logits[:, : task.heads]
        value = loss([planes], labels)
        assert torch.isfinite(value) and value >= -1
        assert torch.isfinite(torch.autograd.grad(value, logits)[0]).all()


def test_a_region_of_which_nothing_was_looked_for_is_refused():
    task = small_task(regions={"whole": (1, 2)})
    with pytest.raises(InputError, match="no region"):
        loss_of(Supervision(kind="box", annotated=(2,)), task=task)
