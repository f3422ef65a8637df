from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fednnunet.planning.histogram import (
    COLUMNS,
    CROP_RATIO,
    SHAPE_BINS,
    SPACING_MM,
    Binning,
    integer_median,
    order_statistic,
    percentile,
)


def table_of(values: list[float], binning: Binning = SPACING_MM) -> np.ndarray:
    table = np.zeros((COLUMNS, binning.bins))
    for value in values:
        binning.add(table, value)
    return table


typed = st.floats(0.05, 12).map(lambda s: round(s, 4)).filter(lambda s: s > 0)
single = st.floats(0.05, 12).map(lambda s: float(np.float32(round(s, 3)))).filter(lambda s: s > 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(typed | single, min_size=1, max_size=12), st.sampled_from([0, 10, 50, 100]))
def test_percentiles_are_those_of_numpy(values: list[float], percent: float) -> None:
    found = percentile(table_of(values), SPACING_MM, percent)
    assert found == pytest.approx(np.percentile(values, percent), rel=2e-4)


@settings(max_examples=40, deadline=None)
@given(st.lists(single, min_size=1, max_size=2), st.integers(1, 300), st.integers(0, 300))
def test_two_distinct_values_come_back_exactly(values: list[float], n: int, m: int) -> None:
    everything = [values[0]] * n + [values[-1]] * m
    table = table_of(everything)
    ranks = sorted({0, n - 1, n, len(everything) // 2, len(everything) - 1})
    for rank in (rank for rank in ranks if rank < len(everything)):
        found = order_statistic(table, SPACING_MM, rank)
        # nine significant digits are kept: half a unit of the ninth where the first is 1
        assert found == pytest.approx(sorted(everything)[rank], rel=5e-9)


@pytest.mark.parametrize(
    "values",
    [
        [0.7031, 0.703125, 0.70312],
        [0.7031] * 40 + [0.703125] * 3,
        [float(np.float32(0.7)), 0.7],
        [999.0] * 5000,
        [1.0, 1.0001],
        [0.48828125, 0.9765625, 3.90625],
    ],
)
def test_close_spacings_are_told_apart(values: list[float]) -> None:
    table = table_of(values)
    assert [order_statistic(table, SPACING_MM, r) for r in range(len(values))] == sorted(values)


def test_many_values_in_one_bin_stay_within_its_width() -> None:
    values = [1 + i * 1e-6 for i in range(100)]
    table = table_of(values)
    for rank in (0, 50, 99):
        assert order_statistic(table, SPACING_MM, rank) == pytest.approx(values[rank], rel=2e-4)


def test_crop_ratios_just_below_and_at_the_threshold_differ() -> None:
    assert percentile(table_of([0.7499], CROP_RATIO), CROP_RATIO, 50) < 0.75
    assert percentile(table_of([0.75], CROP_RATIO), CROP_RATIO, 50) == 0.75
    assert percentile(table_of([1.0, 1.0], CROP_RATIO), CROP_RATIO, 50) == 1.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, SHAPE_BINS - 1), min_size=1, max_size=40))
def test_integer_medians_are_exact(values: list[int]) -> None:
    counts = np.bincount(values, minlength=SHAPE_BINS).astype(float)
    assert integer_median(counts) == np.median(values)


def test_a_rank_that_is_not_there_is_refused() -> None:
    with pytest.raises(IndexError):
        order_statistic(table_of([1.0]), SPACING_MM, 1)
