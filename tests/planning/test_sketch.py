from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fednnunet.planning.sketch import (
    FOREGROUND_COLUMNS,
    INTENSITY_BINS,
    ForegroundSketch,
    mean_and_std,
    quantile,
)


def merged(cases: list[np.ndarray]) -> np.ndarray:
    table = np.zeros((FOREGROUND_COLUMNS, INTENSITY_BINS))
    for case in cases:
        ForegroundSketch.of_voxels(case).add_to(table)
    return table


def samples(kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return {
        "hounsfield": rng.normal(40, 120, 20_000).round(),
        "bytes": rng.integers(0, 256, 20_000).astype(np.uint8),
        "float": rng.lognormal(8, 1, 20_000),
        "unit": rng.beta(2, 5, 20_000),
        "negative": -rng.lognormal(3, 0.5, 20_000),
        "huge": rng.lognormal(15, 1, 20_000),
    }[kind]


@pytest.mark.parametrize("kind", ["hounsfield", "bytes", "float", "unit", "negative", "huge"])
def test_percentiles_are_within_half_a_percent(kind: str) -> None:
    cases = [samples(kind, seed) for seed in range(3)]
    table, pooled = merged(cases), np.concatenate(cases).astype(float)
    for share in (0.005, 0.25, 0.5, 0.75, 0.995):
        exact = np.quantile(pooled, share, method="inverted_cdf")
        assert quantile(table, share) == pytest.approx(exact, rel=5e-3)
    mean, std = mean_and_std(table)
    assert mean == pytest.approx(pooled.mean(), rel=1e-8)
    assert std == pytest.approx(pooled.std(), rel=1e-6)


def test_every_case_weighs_the_same() -> None:
    table = merged([np.full(10, 100.0), np.full(100_000, 200.0)])
    assert mean_and_std(table) == pytest.approx((150, 50))


def test_a_narrow_distribution_far_from_zero_keeps_its_deviation() -> None:
    values = np.random.default_rng(0).normal(10_000, 5, 50_000)
    assert mean_and_std(merged([values]))[1] == pytest.approx(values.std(), rel=1e-3)


def test_whole_numbers_come_back_exactly() -> None:
    table = merged([np.arange(-200, 201)])
    assert [quantile(table, share) for share in (0.0, 0.25, 1.0)] == [-200.0, -100.0, 200.0]


def test_no_voxels_add_nothing() -> None:
    sketch = ForegroundSketch.of_voxels(np.zeros(0))
    assert sketch.empty and not merged([np.zeros(0)]).any()


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_sums_are_the_same_bits_in_any_order(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    cases = [rng.normal(rng.normal(0, 300), 50, rng.integers(1, 400)) for _ in order]
    assert merged(cases).tobytes() == merged([cases[i] for i in order]).tobytes()
