from __future__ import annotations

import numpy as np
import pytest
import torch

from fednnunet.training.warp import image_at, labels_at, turned_points


def volume(*shape, labels=4, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, labels, shape, dtype=np.int16))


@pytest.mark.parametrize("shape", [(5, 6, 7), (6, 7)])
def test_without_a_move_the_middle_is_taken_as_it_is(shape):
    labels = volume(2, *shape)
    patch = tuple(n - 2 for n in shape)
    points = turned_points(np.eye(len(shape)), patch, shape)
    middle = (slice(None), *(slice(1, n - 1) for n in shape))
    assert torch.equal(labels_at(labels, points, outside=-1), labels[middle])
    torch.testing.assert_close(image_at(labels.float(), points), labels[middle].float())


def test_a_quarter_turn_is_that_of_the_array():
    labels = volume(1, 4, 6, 6)
    quarter = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    points = turned_points(quarter, (4, 6, 6), (4, 6, 6))
    got = labels_at(labels, points, outside=-1)
    assert torch.equal(got[0], labels[0].rot90(1, (1, 2)))


def test_beyond_the_volume_there_is_nothing():
    points = turned_points(np.eye(2) * 10, (6, 6), (6, 6))
    got = labels_at(torch.ones((1, 6, 6), dtype=torch.int16), points, outside=-1)
    assert (got == -1).all()
    assert not image_at(torch.ones((1, 6, 6)), points).any()


@pytest.mark.parametrize("axes", [2, 3])
def test_labels_have_the_largest_interpolated_indicator(axes):
    """Against the plain way: interpolate the indicator of every label, and take the largest."""
    labels = volume(1, *(9, 8, 10)[:axes], labels=5)
    shape = labels.shape[1:]
    matrix = np.linalg.qr(np.random.default_rng(1).normal(size=(axes, axes)))[0] * 1.1
    points = turned_points(matrix, shape, shape)
    padded = torch.nn.functional.pad(labels, (20,) * 2 * axes, value=-1)
    shifted = tuple(x + 20 for x in points)
    values = torch.arange(-1, 5)
    scores = torch.stack([image_at((padded == v).float(), shifted)[0] for v in values])
    ranked = scores.sort(0, descending=True)
    clear = ranked.values[0] - ranked.values[1] > 0.01
    got = labels_at(labels, points, outside=-1)[0]
    want = values[ranked.indices[0]]
    assert clear.float().mean() > 0.8
    assert torch.equal(got[clear].long(), want[clear])
