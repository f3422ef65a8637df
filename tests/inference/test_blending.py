"""Weighted sums of tiles, by hand."""

from __future__ import annotations

import numpy as np
import torch

from fednnunet.device import Device
from fednnunet.inference.blending import Blend

WEIGHT = np.array([[[1.0, 3.0]]], np.float32)
LEFT, RIGHT = (
    (slice(0, 1), slice(0, 1), slice(0, 2)),
    (slice(0, 1), slice(0, 1), slice(1, 3)),
)
WHOLE = (slice(None),) * 3


def tiles(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values).reshape(len(values), 1, 1, 1, 2)


def test_where_tiles_overlap_each_counts_by_its_weight() -> None:
    blend = Blend((1, 1, 3), WEIGHT, Device())
    blend.add([LEFT, RIGHT], tiles([2.0, 4.0], [8.0, 6.0]))
    found = blend.mean(WHOLE)
    assert found is not None and found.shape == (1, 1, 1, 3)
    assert found.ravel().tolist() == [2.0, (3 * 4 + 1 * 8) / 4, 6.0]
    assert blend.place.type == "cpu"


def test_samples_beyond_the_group_are_left_out() -> None:
    blend = Blend((1, 1, 2), WEIGHT, Device())
    blend.add([LEFT], tiles([1.0, 2.0], [9.0, 9.0]))
    found = blend.mean((slice(None), slice(None), slice(1, 2)))
    assert found is not None and found.ravel().tolist() == [2.0]


def test_values_that_are_not_finite_give_nothing() -> None:
    blend = Blend((1, 1, 2), WEIGHT, Device())
    blend.add([LEFT], tiles([1.0, float("nan")]))
    assert blend.mean(WHOLE) is None
