"""The norm of an update, and what is refused of a reply's tensors."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.tensors import check_like, update_norm


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
