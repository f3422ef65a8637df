"""Dice as counts of voxels."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.counts import DiceCounts, as_counts, count_batch, count_dice, dice_of
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from fednnunet.training.targets import make_targets
from tests.training.fakes import CPU, small_plan, small_task, train_on_cpu
from tests.training.mixed import FULL, MIXED, PARTIAL, mixed_batch

TARGETS = {kind: make_targets(small_task(), kind) for kind in (FULL, PARTIAL)}
NAMES = ("outer", "inner")


def counts(tp, fp, fn):
    return DiceCounts(names=NAMES, tp=tp, fp=fp, fn=fn)


def one_hot(values, outputs=3):
    """Logits (1, outputs, n) whose largest is at `values`."""
    return torch.nn.functional.one_hot(torch.tensor(values), outputs).T[None].float()


def test_dice_by_hand():
    assert dice_of(3, 1, 2) == 6 / 9
    assert dice_of(0, 0, 2) == 0.0
    assert dice_of(0, 0, 0) is None


def test_counts_add_up_and_their_mean_is_over_the_targets_that_count():
    both = counts((3, 0), (1, 0), (1, 0)) + counts((1, 0), (0, 0), (1, 0))
    assert both == counts((4, 0), (1, 0), (2, 0))
    assert both.rows == ((4, 1, 2), (0, 0, 0))
    assert both.dice == {"outer": 8 / 11}
    assert (both.mean, both.dice_loss) == (8 / 11, 1 - 8 / 11)
    assert both + DiceCounts.empty(NAMES) == both


def test_nothing_counted_has_no_mean_and_the_largest_loss():
    nothing = DiceCounts.empty(NAMES)
    assert (nothing.dice, nothing.mean, nothing.dice_loss) == ({}, None, 1.0)


def test_counts_of_other_targets_are_refused():
    with pytest.raises(InputError, match="cannot be added"):
        DiceCounts.empty(NAMES) + DiceCounts.empty(("whole",))


def test_regions_may_overlap():
    task = small_task(regions={"whole": (1, 2), "core": (2,)})
    logits = torch.tensor([[[1.0, 1, -1, -1], [1.0, 1, 1, -1]]])  # whole, core
    table = count_dice(logits, torch.tensor([[1, 2, 2, 0]]), make_targets(task))
    assert table.tolist() == [[2, 2], [0, 1], [1, 0]]


def test_counts_of_a_mixed_batch_are_those_of_its_samples():
    logits = torch.randn(4, 3, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    whole = mixed_batch()
    want = sum(
        count_dice(logits[i : i + 1], whole.labels[i : i + 1], TARGETS[kind])
        for i, kind in enumerate(whole.supervision)
    )
    assert torch.equal(count_batch(logits, whole, TARGETS), want)


def test_a_class_that_a_case_does_not_annotate_is_not_counted_for_it():
    mixed, full = (
        train_on_cpu(
            new_state(*small_plan(), RECIPES["fast"], CPU, seed=1), iterations=2, supervision=kinds
        ).dice
        for kinds in (MIXED, SiteSupervision())
    )
    assert 0 < mixed.tp[0] + mixed.fn[0] < full.tp[0] + full.fn[0]
    assert mixed.tp[1] + mixed.fn[1] == full.tp[1] + full.fn[1]


def test_counts_add_up_and_give_dice():
    task = small_task(ignore=3)
    labels = torch.tensor([[[0, 1, 1, 2, 3, -1]]])
    found = torch.tensor([[[0, 1, 2, 2, 1, 0]]])
    logits = torch.nn.functional.one_hot(found, 3).movedim(-1, 1).float()
    counts = as_counts(count_dice(logits, labels, make_targets(task)), task.targets)
    assert counts == DiceCounts(names=("outer", "inner"), tp=(1, 1), fp=(0, 1), fn=(1, 0))
    assert counts.dice == pytest.approx({"outer": 2 / 3, "inner": 2 / 3})
    assert counts + DiceCounts.empty(task.targets) == counts
    assert (counts + counts).tp == (2, 2)
    assert DiceCounts.empty(task.targets).mean is None


@pytest.mark.parametrize("kind", ["box", "none"])
def test_cases_without_a_label_map_count_nothing(kind):
    labels = torch.ones(1, 2, 2, 2, dtype=torch.int16)
    targets = make_targets(small_task(), Supervision(kind=kind))
    assert count_dice(torch.randn(1, 3, 2, 2, 2), labels, targets).tolist() == [[0, 0]] * 3
