"""The range of values, the norm of an update, and what is refused of a reply's tensors."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.tensors import (
    MAX_COUNT,
    MAX_EXTRA,
    MAX_VALUE,
    check_like,
    is_in_range,
    update_norm,
)


def test_the_norm_of_an_update_is_over_all_floating_point_tensors():
    old = {"a": torch.tensor([1.0]), "b": torch.tensor([[1.0, 1.0]]), "n": torch.tensor(4)}
    new = {"a": torch.tensor([4.0]), "b": torch.tensor([[1.0, 5.0]]), "n": torch.tensor(9)}
    assert update_norm(new, old) == 5.0
    assert update_norm({}, {}) == 0.0


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


@pytest.mark.parametrize(
    ("tensor", "extra", "inside"),
    [
        (torch.tensor([MAX_VALUE, -MAX_VALUE]), False, True),
        (torch.tensor([2 * MAX_VALUE]), False, False),
        (torch.tensor([2 * MAX_VALUE]), True, True),
        (torch.tensor([2 * MAX_EXTRA]), True, False),
        (torch.tensor([float("nan")]), True, False),
        (torch.tensor(MAX_COUNT), False, True),
        (torch.tensor(-MAX_COUNT - 1), False, False),
        (torch.tensor(-(2**63)), False, False),  # its absolute value is itself
        (torch.zeros(0), False, True),
    ],
)
def test_values_are_finite_and_within_the_limits(tensor, extra, inside):
    assert is_in_range(tensor, extra=extra) is inside
