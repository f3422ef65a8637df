"""Thin marks and boxes survive coarser voxels."""

from __future__ import annotations

import numpy as np
import pytest

from fednnunet.preprocess.resample_sparse import resample_bits, resample_marks
from fednnunet.supervision import UNKNOWN


def test_no_mark_is_lost_where_voxels_grow():
    label = np.full((9, 9, 9), UNKNOWN, np.int16)
    label[0, 0, 8] = 1
    label[4, 3:6, 0] = 2
    small = resample_marks(label, (3, 3, 3))
    assert small.dtype == np.int16
    assert small[0, 0, 2] == 1 and small[1, 1, 0] == 2
    assert np.count_nonzero(small != UNKNOWN) == 2


def test_most_marks_of_a_voxel_decide_and_a_class_before_the_background():
    label = np.full((1, 1, 6), UNKNOWN, np.int16)
    label[0, 0] = (0, 0, 1, 0, 1, UNKNOWN)
    assert resample_marks(label, (1, 1, 2))[0, 0].tolist() == [0, 1]


def test_without_marks_there_is_nothing_to_vote():
    label = np.full((4, 4, 4), UNKNOWN, np.int16)
    assert (resample_marks(label, (2, 3, 5)) == UNKNOWN).all()


@pytest.mark.parametrize("resample", [resample_marks, resample_bits])
def test_where_voxels_shrink_the_nearest_one_is_taken(resample):
    label = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    large = resample(label, (4, 4, 4))
    assert np.array_equal(large, label.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert np.array_equal(resample(label, (2, 2, 2)), label)


def test_a_box_thinner_than_the_new_voxels_is_kept():
    bits = np.zeros((9, 9, 9), np.int16)
    bits[0:6, 0:6, 0:6] = 1
    bits[3, 3:9, 3:9] |= 2
    small = resample_bits(bits, (3, 3, 3))
    assert np.array_equal(small & 1, np.pad(np.ones((2, 2, 2), np.int16), (0, 1)))
    assert (small[1, 1:, 1:] & 2).all() and np.count_nonzero(small & 2) == 4
