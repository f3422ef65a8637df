"""Cross-entropy with weights, margins and difficulty, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from fednnunet.supervision import Supervision
from fednnunet.training.balanced_entropy import by_difficulty, sigmoid_entropy, softmax_entropy
from fednnunet.training.imbalance import ClassBalance, GroupBalance
from fednnunet.training.losses import make_loss
from fednnunet.training.recipe import RECIPES
from tests.training.fakes import small_plan

OUTPUTS = ((0,), (1,), (2,))


def line(*rows: list[float]) -> torch.Tensor:
    """Logits (1, k, 1, 1, n) of n voxels."""
    return torch.tensor(rows).T[None, :, None, None, :]


def places(*groups: int) -> torch.Tensor:
    return torch.tensor(groups)[None, None, None, :]


def test_a_weight_multiplies_the_voxels_of_its_class() -> None:
    logits, classes = line([0.0, 0.0, 0.0], [1.0, 0.0, 0.0]), places(2, 0)
    balance = GroupBalance(weights=(0.5, 1.0, 2.0))
    found = softmax_entropy(logits, classes, OUTPUTS, None, balance)
    expected = [2 * math.log(3), 0.5 * (math.log(math.e + 2) - 1)]
    assert found.flatten().tolist() == pytest.approx(expected)


def test_a_margin_lowers_the_logit_of_the_voxels_own_class() -> None:
    logits, classes = line([0.0, 0.0, 0.0], [2.0, 0.0, 0.0]), places(2, 0)
    found = softmax_entropy(logits, classes, OUTPUTS, None, GroupBalance(margins=(0.5, 0.1, 1.0)))
    expected = [
        math.log(2 + math.exp(-1)) + 1,
        math.log(math.exp(1.5) + 2) - 1.5,
    ]
    assert found.flatten().tolist() == pytest.approx(expected)


def test_merged_classes_are_one() -> None:
    logits, classes = line([0.0, 0.0, 0.0]), places(0)
    groups = ((0, 2), (1,))
    found = softmax_entropy(logits, classes, groups, None, GroupBalance(margins=(1.0, 0.0)))
    both = 2 * math.exp(-1)
    assert found.item() == pytest.approx(math.log((both + 1) / both))


def test_difficulty_is_relative_to_the_sample() -> None:
    voxels = torch.tensor([[[[4.0, 2.0, 1.0, 9.0]]], [[[5.0, 5.0, 5.0, 5.0]]]])
    classes = torch.tensor([[[[0, 0, 1, 1]]], [[[0, 0, 0, 0]]]])
    valid = torch.tensor([[[[True, True, True, False]]], [[[True] * 4]]])
    found = by_difficulty(voxels, classes, valid, 3, 1.0)
    # in the first sample the means are 3 and 1 (the last voxel is not valid), of mean 2
    assert found[0].flatten().tolist() == pytest.approx([6.0, 3.0, 0.5, 4.5])
    assert found[1].flatten().tolist() == pytest.approx([5.0] * 4)
    half = by_difficulty(voxels, classes, valid, 3, 0.5)
    assert half[0, 0, 0, 0].item() == pytest.approx(4 * math.sqrt(1.5))
    assert by_difficulty(voxels, classes, valid, 3, 0.0) is voxels


def test_regions_weigh_what_is_in_them() -> None:
    logits = torch.zeros(1, 2, 1, 1, 2)
    truth = torch.tensor([[[[[True, False]]], [[[False, False]]]]])
    balance = GroupBalance(weights=(3.0, 5.0), margins=(1.0, 2.0))
    found = sigmoid_entropy(logits, truth, None, balance)
    two = math.log(2)
    expected = [3 * math.log(1 + math.e), two, two, two]
    assert found.flatten().tolist() == pytest.approx(expected)
    plain = F.binary_cross_entropy_with_logits(logits, truth.float(), reduction="none")
    assert torch.equal(sigmoid_entropy(logits, truth, None, GroupBalance()), plain)


def test_the_recipes_loss_takes_it_up_and_leaves_dice() -> None:
    plan, configuration = small_plan()
    logits = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (2, 4, 4, 4), generator=torch.Generator().manual_seed(1))

    def value(balance: ClassBalance) -> float:
        recipe = replace(RECIPES["fast"], balance=balance)
        made = make_loss(plan.task, Supervision(), configuration, recipe)
        return made([logits], labels.to(torch.int16)).item()

    ones = ClassBalance(weights=(1.0, 1.0, 1.0), margins=(0.0, 0.0, 0.0))
    assert value(ones) == pytest.approx(value(ClassBalance()), abs=1e-6)
    twice = ClassBalance(weights=(2.0, 2.0, 2.0))
    entropy = F.cross_entropy(logits, labels).item()
    assert value(twice) - value(ClassBalance()) == pytest.approx(entropy, abs=1e-5)
