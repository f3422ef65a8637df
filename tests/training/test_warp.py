from __future__ import annotations

import numpy as np
import pytest
import torch

from fednnunet.training.warp import Cells, image_at, labels_at, rotated_points


def volume(*shape, labels=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, labels, shape, dtype=np.int16)


@pytest.mark.parametrize("shape", [(5, 6, 7), (6, 7)])
def test_without_a_move_the_middle_is_taken_as_it_is(shape):
    labels = volume(2, *shape)
    patch = tuple(n - 2 for n in shape)
    cells = Cells.of(rotated_points(np.eye(len(shape)), patch, shape), shape)
    middle = (slice(None), *(slice(1, n - 1) for n in shape))
    np.testing.assert_array_equal(labels_at(labels, cells, outside=-1), labels[middle])
    picture = labels.astype(np.float32)
    np.testing.assert_allclose(image_at(picture, cells), picture[middle], atol=1e-5)


def test_a_quarter_turn_is_that_of_the_array():
    labels = volume(1, 4, 6, 6)
    quarter = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    cells = Cells.of(rotated_points(quarter, (4, 6, 6), (4, 6, 6)), (4, 6, 6))
    got = labels_at(labels, cells, outside=-1)
    np.testing.assert_array_equal(got[0], np.rot90(labels[0], 1, (1, 2)))


def test_beyond_the_volume_there_is_nothing():
    cells = Cells.of(rotated_points(np.eye(2) * 10, (6, 6), (6, 6)), (6, 6))
    got = labels_at(np.ones((1, 6, 6), np.int16), cells, outside=-1)
    assert (got == -1).all()
    assert not image_at(np.ones((1, 6, 6), np.float32), cells).any()


@pytest.mark.parametrize("axes", [2, 3])
def test_images_are_interpolated_as_torch_does(axes):
    size = (9, 8, 10)[:axes]
    image = np.random.default_rng(0).normal(size=(2, *size)).astype(np.float32)
    matrix = np.linalg.qr(np.random.default_rng(1).normal(size=(axes, axes)))[0] * 1.4
    points = rotated_points(matrix, size, size)
    places = [(2 * x + 1) / n - 1 for x, n in zip(points, size, strict=True)]
    grid = torch.from_numpy(np.stack(places[::-1], -1)[None])
    picture = torch.from_numpy(image[None])
    want = torch.nn.functional.grid_sample(picture, grid, align_corners=False)[0]
    got = image_at(image, Cells.of(points, size))
    np.testing.assert_allclose(got, want.numpy(), atol=1e-4)
    assert (got == 0).any()


@pytest.mark.parametrize("axes", [2, 3])
def test_labels_have_the_largest_interpolated_indicator(axes):
    """Against the plain way: interpolate the indicator of every label, and take the largest."""
    labels = volume(1, *(9, 8, 10)[:axes], labels=5)
    shape = labels.shape[1:]
    matrix = np.linalg.qr(np.random.default_rng(1).normal(size=(axes, axes)))[0] * 1.1
    points = rotated_points(matrix, shape, shape)
    padded = np.pad(labels[0], 20, constant_values=-1)[None]
    around = Cells.of([x + 20 for x in points], padded.shape[1:])
    values = np.arange(-1, 5)
    scores = np.stack([image_at((padded == v).astype(np.float32), around)[0] for v in values])
    ranked = np.sort(scores, 0)
    clear = ranked[-1] - ranked[-2] > 0.01
    got = labels_at(labels, Cells.of(points, shape), outside=-1)[0]
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(got[clear], values[scores.argmax(0)][clear])
