from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.training.recipe import RECIPES, Augmentation, Recipe, learning_rate_at, recipe_named


def test_nnunets_rate_is_nnunets():
    recipe = RECIPES["nnunet"]
    total = 1000 * 250
    for epoch in (0, 1, 499, 999):
        want = 0.01 * (1 - epoch / 1000) ** 0.9
        for step in (epoch * 250, epoch * 250 + 249):
            assert learning_rate_at(recipe, step, total) == pytest.approx(want)


@pytest.mark.parametrize("name", RECIPES)
def test_the_rate_ends_near_zero_and_stays_positive(name):
    rates = [learning_rate_at(RECIPES[name], step, 500) for step in range(500)]
    assert max(rates) <= RECIPES[name].learning_rate * (1 + 1e-12)
    assert min(rates) > 0
    assert rates[-1] < 0.02 * RECIPES[name].learning_rate


def test_one_cycle_rises_then_falls():
    recipe = RECIPES["fast"]
    rates = [learning_rate_at(recipe, step, 200) for step in range(200)]
    top = rates.index(max(rates))
    assert 0 < top < 100
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_names_and_values_are_checked():
    with pytest.raises(InputError, match="no recipe"):
        recipe_named("slow")
    with pytest.raises(InputError, match="probability of blur"):
        Augmentation(blur=1.5)
    with pytest.raises(InputError, match="rate"):
        Recipe(name="r", optimiser="sgd", learning_rate=0, schedule="polynomial", weight_decay=0)
