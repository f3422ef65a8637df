"""What the losses of weak labels share."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.labels.levels import chosen_logits, levels_of, log_softmax, mean_where
from fednnunet.training.recipe import RECIPES
from tests.training.fakes import small_plan


def test_every_resolution_but_the_lowest_has_half_the_weight_of_the_one_before():
    recipe, (_, configuration) = RECIPES["nnunet"], small_plan(features=(4, 8, 8, 8))
    assert levels_of(configuration, recipe) == pytest.approx((2 / 3, 1 / 3))
    assert levels_of(configuration, replace(recipe, deep_supervision=False)) == (1.0,)


def test_probabilities_of_a_group_are_added():
    logits = torch.randn(2, 3, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    p = torch.softmax(logits, 1)
    found = log_softmax(logits.double(), ((0, 2), (1,)))
    assert found.dtype == torch.float32
    expected = torch.stack([p[:, 0] + p[:, 2], p[:, 1]], 1)
    torch.testing.assert_close(found.exp(), expected)


def test_the_logits_of_the_named_outputs_are_chosen_in_order():
    logits = torch.arange(24, dtype=torch.bfloat16).reshape(1, 3, 2, 2, 2)
    found = chosen_logits(logits, ((2,), (0,)))
    assert found.dtype == torch.float32
    assert torch.equal(found, logits[:, [2, 0]].float())


def test_a_batchs_mean_is_that_of_its_samples():
    values = torch.tensor([[1.0, 2.0, 6.0], [8.0, torch.nan, 5.0], [9.0, 9.0, 9.0]])
    chosen = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    assert float(mean_where(values, chosen)) == pytest.approx((1.5 + 8 + 0) / 3)
    each = [mean_where(values[i : i + 1], chosen[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(mean_where(values, chosen), torch.stack(each).mean())
