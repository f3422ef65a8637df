"""Exact sums and the mean made of them: the law of order, equal sites, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.exact_sum import (
    MAX_TERM,
    MAX_TERMS,
    ExactSum,
    WeightedMean,
    weighted_mean,
)

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TINY = (0.0, -0.0, 1e-40, -1e-45, 3e-21, 2.0**-71, 1e-7, 0.1, 1e5, -7e8)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def random(seed: int, dtype: torch.dtype = torch.float32, count: int = 200) -> torch.Tensor:
    """Numbers of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    exponents = torch.rand(count, generator=generator, dtype=torch.float64) * 20 - 16
    signs = torch.randn(count, generator=generator, dtype=torch.float64)
    return (signs * 10**exponents).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_order_of_terms_changes_no_bit(dtype):
    terms = [(f"s{i}", {"w": random(i, dtype)}, 1 / 3 + i) for i in range(4)]
    found = {bits(weighted_mean(order)["w"]) for order in permutations(terms)}
    assert len(found) == 1


def test_it_is_the_sum_as_fractions_have_it():
    values = [random(i, torch.float64, 50) for i in range(30)]
    weights = [0.1 + i for i in range(30)]
    total = ExactSum(values[0].shape)
    for value, weight in zip(values, weights, strict=True):
        total.add(value, weight)
    want = [
        float(sum(Fraction(float(v[i]) * w) for v, w in pairs))
        for i in range(50)
        for pairs in [list(zip(values, weights, strict=True))]
    ]
    torch.testing.assert_close(
        total.total(), torch.tensor(want, dtype=torch.float64), rtol=1e-15, atol=30 * 2.0**-72
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weights", [(3.0, 5.0, 7.0), (1 / 3, 1e-6, 2e5)])
def test_sites_that_send_the_same_keep_it_bit_for_bit(dtype, weights):
    tensor = torch.cat([random(1, dtype), torch.tensor(TINY).clamp(-6e4, 6e4).to(dtype)]) / 1e4
    sent = [(f"s{i}", {"w": tensor.clone()}, weight) for i, weight in enumerate(weights)]
    assert bits(weighted_mean(sent)["w"]) == bits(tensor)


def test_zeros_of_two_signs_do_not_depend_on_the_order():
    plus, minus = {"w": torch.tensor([0.0])}, {"w": torch.tensor([-0.0])}
    one = weighted_mean([("a", plus, 1.0), ("b", minus, 1.0)])
    other = weighted_mean([("b", minus, 1.0), ("a", plus, 1.0)])
    assert bits(one["w"]) == bits(other["w"])


def test_the_mean_counts_weights():
    ones, fours = {"w": torch.ones(2)}, {"w": torch.full((2,), 4.0)}
    assert weighted_mean([("a", ones, 1.0), ("b", fours, 2.0)])["w"].tolist() == [3.0, 3.0]


def test_integer_tensors_are_those_of_the_first_site_by_name():
    sent = [("b", {"n": torch.tensor(8)}, 1.0), ("a", {"n": torch.tensor(3)}, 1.0)]
    for order in permutations(sent):
        assert weighted_mean(order)["n"].item() == 3


def test_small_terms_do_not_vanish_beside_large_ones():
    big, small = {"w": torch.tensor([1e8])}, {"w": torch.tensor([-1e8 + 16.0])}
    assert weighted_mean([("a", big, 1.0), ("b", small, 1.0)])["w"].item() == 8.0


def test_tensors_larger_than_a_chunk_and_empty_ones():
    large = {"w": torch.arange(200_003, dtype=torch.float32), "none": torch.zeros(0, 3)}
    other = {"w": torch.zeros(200_003), "none": torch.zeros(0, 3)}
    mean = weighted_mean([("a", large, 1.0), ("b", other, 1.0)])
    assert torch.equal(mean["w"], large["w"] / 2)
    assert mean["none"].shape == (0, 3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=6), st.integers(1, 500))
def test_a_mean_lies_between_its_terms(values, cases):
    tensor = torch.tensor(values, dtype=torch.float32)
    sent = [("a", {"w": tensor}, float(cases)), ("b", {"w": tensor + 1}, 3.0)]
    mean = weighted_mean(sent)["w"]
    assert bool(((mean >= tensor) & (mean <= tensor + 1)).all())


def test_nothing_to_average_is_an_error():
    with pytest.raises(ReplyError, match="nothing to average"):
        WeightedMean().mean()


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(ReplyError, match="would count by"):
        WeightedMean().add("a", {"w": torch.ones(1)}, weight)


def test_a_term_that_is_too_large_is_refused_with_its_site_and_adds_nothing():
    mean = WeightedMean()
    mean.add("a", {"v": torch.ones(1), "w": torch.ones(1)}, 1.0)
    with pytest.raises(ReplyError, match="too large to be summed") as caught:
        mean.add("b", {"v": torch.ones(1) * 3, "w": torch.full((1,), MAX_TERM / 2)}, 2.0)
    assert "site b" in str(caught.value)
    assert {name: t.item() for name, t in mean.mean().items()} == {"v": 1.0, "w": 1.0}


def test_the_largest_number_of_the_largest_terms_fits():
    total = ExactSum(torch.Size([2]))
    largest = torch.tensor([MAX_TERM - 2.0**-20, -(MAX_TERM - 2.0**-20)], dtype=torch.float64)
    for _ in range(MAX_TERMS):
        total.add(largest)
    torch.testing.assert_close(total.total(), largest * MAX_TERMS, rtol=1e-15, atol=0)


def test_too_many_replies_are_refused():
    mean = WeightedMean()
    for number in range(MAX_TERMS):
        mean.add(f"s{number}", {"w": torch.ones(1)}, 1.0)
    with pytest.raises(ReplyError, match="more than 8191 replies"):
        mean.add("one more", {"w": torch.ones(1)}, 1.0)


def test_the_coarse_part_is_narrow_until_it_must_be_wide():
    total = ExactSum(torch.Size([3]))
    want = torch.zeros(3, dtype=torch.float64)
    term, kinds = torch.tensor([500.5, -500.25, 2.0**-30]), []
    for _ in range(9):
        total.add(term, 0.75)
        want += term.double() * 0.75
        kinds.append(total._coarse.dtype)
    assert kinds[0] == torch.int32 and kinds[-1] == torch.int64  # the sum passes 2048
    assert torch.equal(total.total(), want)


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16, torch.float32))
@pytest.mark.parametrize("weights", [(1.0, 1.0), (13.0, 1e-9), (1e-7, 3.0), (1e4, 1 / 7)])
def test_equal_values_that_are_not_kept_are_their_own_mean(dtype, weights):
    """Those from 2^-30 on, at their smallest: just there the mean must round to them."""
    limit = max(2 * torch.finfo(dtype).tiny, 2.0**-30 / weights[0])
    values = torch.linspace(limit, 8 * limit, 4001, dtype=torch.float64).to(dtype)
    values = values[(values >= limit) & (values.double() * max(weights) < MAX_TERM)]
    tensor = torch.cat([values, -values])
    sent = [(f"s{i}", {"w": tensor.clone()}, weight) for i, weight in enumerate(weights)]
    assert bits(weighted_mean(sent)["w"]) == bits(tensor)


def test_of_a_network_hardly_any_value_is_kept():
    generator = torch.Generator().manual_seed(0)
    tensor = torch.randn(10_000, generator=generator) / 30
    tensor[::10] = 0.0
    tensor[5] = -0.0
    mean = WeightedMean()
    mean.add("a", {"w": tensor}, 20.0)
    agreed = mean._means["w"]._agreed
    assert agreed is not None and len(agreed._values) <= 3
    assert bits(mean.mean()["w"]) == bits(tensor)
