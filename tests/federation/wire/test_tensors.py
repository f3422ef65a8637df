from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.tensors import check_like, difference, norm, weighted_mean


def test_the_mean_counts_cases():
    ones, fours = {"w": torch.ones(2)}, {"w": torch.full((2,), 4.0)}
    assert weighted_mean([(ones, 1.0), (fours, 2.0)])["w"].tolist() == [3.0, 3.0]


def test_integer_counters_are_not_averaged():
    merged = weighted_mean([({"n": torch.tensor(3)}, 1.0), ({"n": torch.tensor(8)}, 1.0)])
    assert merged["n"].item() == 3


def test_the_sum_is_in_float64():
    """In float32 the small one would vanish beside the large."""
    big, small = {"w": torch.tensor([1e8])}, {"w": torch.tensor([-1e8 + 16.0])}
    assert weighted_mean([(big, 1.0), (small, 1.0)])["w"].item() == 8.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6))
def test_equal_sites_keep_the_mean(values):
    tensors = {"w": torch.tensor(values, dtype=torch.float32)}
    merged = weighted_mean([(tensors, 3.0), (tensors, 5.0)])
    assert torch.allclose(merged["w"], tensors["w"], rtol=1e-6)


def test_nothing_to_average_is_an_error():
    with pytest.raises(ReplyError, match="nothing to average"):
        weighted_mean([])


def test_difference_and_norm():
    change = difference({"a": torch.tensor([4.0])}, {"a": torch.tensor([1.0])})
    assert norm(change) == 3.0
    assert norm({}) == 0.0


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({}, "1 tensors are missing"),
        ({"w": torch.ones(2), "extra": torch.ones(1)}, "1 were not asked for"),
        ({"w": torch.ones(3)}, r"is \[3\]"),
        ({"w": torch.ones(2, dtype=torch.float64)}, "float64"),
        ({"w": torch.tensor([1.0, float("nan")])}, "not finite"),
    ],
)
def test_a_bad_reply_is_refused_by_name(reply, words):
    with pytest.raises(ReplyError, match=words) as caught:
        check_like(reply, {"w": torch.zeros(2)}, site="berlin")
    assert "berlin" in str(caught.value)
