from __future__ import annotations

import numpy as np
import pytest

from fednnunet.preprocess.resample_label import resize_label, resize_label_thick


def test_negative_labels_survive():
    label = np.full((8, 8, 8), -1, np.int16)
    label[2:6, 2:6, 2:6] = 1
    ours = resize_label(label, (16, 16, 16), 1)
    assert set(np.unique(ours)) == {-1, 1}


def test_a_doubled_label_map_keeps_its_volume():
    label = np.zeros((10, 12, 14), np.int16)
    label[3:7, 4:9, 5:10] = 2
    ours = resize_label(label, (20, 24, 28), 1)
    assert ours.dtype == np.int16
    assert (ours == 2).sum() == pytest.approx(8 * (label == 2).sum(), rel=0.1)


def test_equal_shapes_change_nothing():
    label = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.int16)
    assert np.array_equal(resize_label(label, label.shape, 1), label)


def test_the_largest_of_three_labels_wins_at_a_voxel_between_them():
    label = np.zeros((1, 4, 4), np.int16)
    label[0, :2, :2], label[0, :2, 2:], label[0, 2:, :2] = 1, 1, 2
    assert resize_label(label, (1, 1, 1), 1).item() == 1


@pytest.mark.parametrize("thick", [0, 1, 2])
def test_along_the_thick_axis_the_nearest_slice_is_taken(thick):
    label = np.random.default_rng(1).integers(0, 3, (4, 4, 4)).astype(np.int16)
    shape = [4, 4, 4]
    shape[thick] = 8
    ours = resize_label_thick(label, shape, thick, 1)
    assert np.array_equal(ours, np.repeat(label, 2, axis=thick))
