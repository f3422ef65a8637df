from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.secure.fixed_point import (
    FixedPoint,
    decode_sums,
    encode_sums,
    word_of,
)


def added(vectors, bits):
    total = np.zeros(len(vectors[0]), word_of(bits))
    for vector in vectors:
        total += vector
    return total


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("sites", [1, 2, 3, 32, 1000])
@pytest.mark.parametrize("limit", [1.0, 3.0, 2.0**21])
def test_the_sum_of_the_largest_values_does_not_overflow(bits, sites, limit):
    number = FixedPoint(bits=bits, terms=sites, limit=limit)
    for sign in (1.0, -1.0):
        values = np.full(3, sign * limit)
        total = added([number.encode(values, 1 / sites) for _ in range(sites)], bits)
        assert number.decode(total) == pytest.approx(values, abs=sites / number.scale)


@pytest.mark.parametrize("bits", [32, 64])
def test_the_headroom_is_not_more_than_one_bit_too_large(bits):
    number = FixedPoint(bits=bits, terms=32, limit=3.0)
    assert 2.0 ** (bits - 1) / 4 < number.scale * 3.0 < 2.0 ** (bits - 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8), st.sampled_from([32, 64]))
def test_a_mean_is_exact_to_half_a_unit_a_site(values, bits):
    shares = np.random.default_rng(len(values)).dirichlet(np.ones(len(values)))
    number = FixedPoint(bits=bits, terms=len(values), limit=10.0)
    words = [number.encode(np.array([v]), float(s)) for v, s in zip(values, shares, strict=True)]
    wanted = float(np.dot(values, shares))
    error = abs(number.decode(added(words, bits))[0] - wanted)
    assert error <= len(values) * 0.5 / number.scale + 1e-13


@pytest.mark.parametrize("value", [10.001, float("inf"), float("nan")])
def test_a_value_that_does_not_fit_is_refused(value):
    with pytest.raises(FedNNUNetError, match="at most 10 fits"):
        FixedPoint(bits=64, terms=2, limit=10.0).encode(np.array([1.0, value]), 0.5)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_of_more_than_all_is_refused(share):
    with pytest.raises(FedNNUNetError, match="would count by"):
        FixedPoint(bits=64, terms=2, limit=10.0).encode(np.array([1.0]), share)


def test_sums_over_cases_are_exact():
    rng = np.random.default_rng(0)
    vectors = [
        np.concatenate([rng.integers(-(2**40), 2**45, 50), rng.integers(0, 2**42, 50) / 2.0**40])
        for _ in range(32)
    ]
    total = added([encode_sums(vector, 32) for vector in vectors], 64)
    assert (decode_sums(total) == sum(vectors)).all()


@pytest.mark.parametrize("value", [2.0**-41, 2.0**58, float("nan"), float("inf")])
def test_sums_that_do_not_fit_are_refused(value):
    with pytest.raises(FedNNUNetError, match="cannot be written"):
        encode_sums(np.array([1.0, value]), 32)
