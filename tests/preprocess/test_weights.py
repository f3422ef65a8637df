from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import zoom

from fednnunet.preprocess.weights import (
    axis,
    coordinates,
    matrix_of,
    nearest,
    resize_first,
    resize_plane,
)

SIZES = [(7, 19), (40, 13), (30, 31)]


def test_the_centres_of_new_voxels_cover_the_axis_evenly():
    assert coordinates(4, 2).tolist() == [0.5, 2.5]
    assert coordinates(2, 4).tolist() == [-0.25, 0.25, 0.75, 1.25]
    assert nearest(2, 4).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_constants_stay_as_the_rows_sum_to_one(old, new, order):
    matrix = matrix_of(old, new, order)
    assert matrix.shape == (new, old)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-9)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_cubic_weights_equal_those_of_scipy(old, new):
    signal = np.random.default_rng(old).normal(size=old)
    wanted = zoom(signal, new / old, order=3, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(matrix_of(old, new, 3) @ signal, wanted, atol=1e-6)


def test_an_order_of_two_is_refused():
    with pytest.raises(ValueError, match="spline order 2"):
        matrix_of(4, 8, 2)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_the_bands_of_an_axis_are_its_matrix(old, new):
    array = np.random.default_rng(0).normal(size=(old, 5)).astype(np.float32)
    ours = resize_first(array, axis(old, new, 3))
    np.testing.assert_allclose(ours, matrix_of(old, new, 3) @ array, atol=1e-5)


def test_an_axis_that_does_not_change_is_not_copied():
    array = np.ones((6, 4), np.float32)
    assert resize_first(array, axis(6, 6, 3)) is array
    assert resize_plane(array, axis(6, 6, 3), axis(4, 4, 3)) is array


def test_a_part_computes_the_same_as_the_whole():
    whole = axis(60, 90, 3)
    array = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    part, into, out = whole.part(20, 30)
    assert into.start <= 20 and into.stop >= 30
    assert out.stop - out.start < 90
    found = resize_first(np.ascontiguousarray(array[into]), part)
    np.testing.assert_allclose(found, resize_first(array, whole)[out], atol=1e-6)
