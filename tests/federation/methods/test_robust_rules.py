"""Robust rules on the inner products of updates, by hand."""

from __future__ import annotations

import pytest
import torch

from fednnunet.federation.methods.robust_rules import (
    clipping_weights,
    distances,
    krum_weights,
    mixing_weights,
)

LINE = torch.tensor([[0.0], [1.0], [3.0], [100.0], [2.0]], dtype=torch.float64)
GRAM = LINE @ LINE.T


def test_distances_are_those_of_the_updates():
    torch.testing.assert_close(distances(GRAM), (LINE - LINE.T) ** 2)


def test_an_update_is_mixed_with_its_nearest():
    mixed = mixing_weights(GRAM, 2) @ LINE
    # The three nearest: 0 1 2, 0 1 2 (1 is as near to 0 as to 2), 1 2 3, 2 3 100, 1 2 3.
    assert mixed[:, 0].tolist() == pytest.approx([1.0, 1.0, 2.0, 35.0, 2.0])


def test_krum_takes_the_update_with_the_nearest_neighbours():
    # Two neighbours count, of squared distances 1 + 4, 1 + 1, 1 + 4, ..., 1 + 1: the first by site.
    assert krum_weights(GRAM, 1, 1).tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert krum_weights(GRAM, 1, 4).tolist() == [0.25, 0.25, 0.25, 0.0, 0.25]


def test_clipping_ends_where_its_formula_ends():
    radius, centre = 2.0, 0.0
    for _ in range(3):
        steps = [min(1.0, radius / max(abs(u - centre), 1e-9)) * (u - centre) for u in LINE[:, 0]]
        centre = centre + float(sum(steps)) / len(steps)
    found = float(clipping_weights(GRAM, radius) @ LINE[:, 0])
    assert found == pytest.approx(centre)


def test_without_a_radius_half_of_the_updates_are_cut():
    # From 0 the distances are 0 1 3 100 2, their median 2: the step is (0 + 1 + 2 + 2 + 2) / 5.
    one = LINE.new_tensor([0.0, 1.0, 2 / 3, 0.02, 1.0]) / 5
    found = float(clipping_weights(GRAM) @ LINE[:, 0])
    assert float(one @ LINE[:, 0]) == pytest.approx(1.4)
    assert 1.4 < found < 3.0


def test_updates_that_are_all_zero_are_kept():
    assert torch.isfinite(clipping_weights(torch.zeros(3, 3, dtype=torch.float64))).all()
