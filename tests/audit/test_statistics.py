"""AUC, rates and intervals against values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fednnunet.audit.statistics import auc, true_positive_rate, with_interval


def test_auc_counts_pairs_and_ties_by_half():
    assert auc([3, 2], [1, 2]) == (2 + 1 + 0.5) / 4
    assert auc([1, 1], [1, 1]) == 0.5


def test_at_most_a_tenth_of_the_others_is_above_the_threshold():
    others = list(range(10))
    assert true_positive_rate([8.5, 9.5, 7.0, 8.0], others) == 0.5
    assert true_positive_rate([1.0, 2.0], [0.0]) == 1.0


def test_the_interval_holds_the_value_and_shrinks_with_cases():
    rng = np.random.default_rng(0)
    few = with_interval(auc, rng.normal(1, 1, 10), rng.normal(0, 1, 10))
    many = with_interval(auc, rng.normal(1, 1, 160), rng.normal(0, 1, 160))
    assert few.low < few.value < few.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert many.value == pytest.approx(0.76, abs=0.08)
