"""Settings against rare classes, and the numbers that follow from a plan's counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednnunet.errors import InputError
from fednnunet.training.imbalance import (
    ClassBalance,
    GroupBalance,
    Imbalance,
    effective_number_weights,
    label_margins,
)
from tests.training.fakes import small_plan


def plan(**counts: int):
    return replace(small_plan()[0], cases=20, label_cases=counts)


def test_effective_numbers_by_hand() -> None:
    # (1 - 0.5) / (1 - 0.5^n) for n = 1, 2: 1 and 2/3, of mean 5/6
    assert effective_number_weights([1, 2], 0.5) == pytest.approx((6 / 5, 4 / 5))
    assert effective_number_weights([7, 7, 7], 0.9) == pytest.approx((1, 1, 1))
    common, rare = effective_number_weights([1000, 1], 0.99999)
    assert rare / common == pytest.approx(1000, rel=0.01)  # towards 1 / n


def test_margins_by_hand() -> None:
    assert label_margins([81, 16, 1], 0.6) == pytest.approx((0.2, 0.3, 0.6))


def test_counts_are_those_of_the_plan() -> None:
    settings = Imbalance(effective_number=0.9, margin=0.5, copy_paste=("inner",))
    balance = settings.balance(plan(outer=20, inner=4))
    assert balance.weights == pytest.approx(effective_number_weights([20, 20, 4], 0.9))
    assert balance.margins == pytest.approx(label_margins([20, 20, 4], 0.5))
    assert (balance.copied, balance.copy_chance) == ((2,), 0.3)
    assert Imbalance(margin=0.5).balance(plan(outer=20)).margins[2] == 0.5  # one case at least


def test_everything_is_off_by_default() -> None:
    assert Imbalance().balance(plan()) == ClassBalance()
    assert not ClassBalance().of_groups([(0,), (1,), (2,)])


def test_a_group_counts_like_its_commonest_class() -> None:
    balance = ClassBalance(weights=(0.5, 1.0, 2.0), margins=(0.1, 0.2, 0.4))
    assert balance.of_groups([(0, 2), (1,)]) == GroupBalance(weights=(0.5, 1.0), margins=(0.1, 0.2))


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="effective_number"):
        Imbalance(effective_number=1.0)
    with pytest.raises(InputError, match="does not say in how many cases"):
        Imbalance(margin=0.5).balance(plan())
    with pytest.raises(InputError, match="copy_paste names 'iner'"):
        Imbalance(copy_paste=("iner",)).check_task(small_plan()[0].task)
