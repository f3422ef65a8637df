"""Resampling against scikit-image in float64, which nnU-Net uses, and its rules for thick axes."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import resize

from fednnunet.preprocess.resample import (
    new_shape,
    resample_image,
    resample_labels,
    resample_logits,
    thick_axis,
)


def smooth(shape, seed=0):
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    return gaussian_filter(rng.normal(size=shape), 1.5).astype(np.float32) * 100


def psnr(found, wanted):
    error = np.mean((found.astype(np.float64) - wanted) ** 2)
    return 10 * np.log10((wanted.max() - wanted.min()) ** 2 / error)


@pytest.mark.parametrize("shape", [(19, 40, 33), (12, 20, 30), (40, 41, 42)])
def test_images_equal_a_cubic_resize_in_float64(shape):
    image = smooth((24, 31, 28))
    ours = resample_image(image[None], (1.0, 1.0, 1.0), (1.2, 0.8, 0.9), shape)[0]
    wanted = resize(image.astype(np.float64), shape, 3, mode="edge", clip=True, anti_aliasing=False)
    assert ours.dtype == np.float32
    assert psnr(ours, wanted) > 60


def test_labels_equal_the_largest_linear_indicator():
    label = (smooth((24, 31, 28), 1) > 0).astype(np.int16) + (smooth((24, 31, 28), 2) > 20)
    shape = (19, 40, 33)
    ours = resample_labels(label, (1.0, 1.0, 1.0), (1.2, 0.8, 0.9), shape)
    planes = [
        resize((label == v).astype(np.float64), shape, 1, mode="edge", anti_aliasing=False)
        for v in range(3)
    ]
    second, first = np.sort(planes, 0)[-2:]
    clear = first - second > 1e-4  # between equal indicators the nearest voxel decides
    assert clear.mean() > 0.95
    assert np.array_equal(ours[clear], np.argmax(planes, 0)[clear])
    assert set(np.unique(ours)) <= {0, 1, 2}


def test_the_thick_axis_is_not_interpolated():
    image = smooth((6, 20, 20))
    ours = resample_image(image[None], (5.0, 1.0, 1.0), (2.5, 1.0, 1.0), (12, 20, 20))[0]
    assert all(any(np.array_equal(plane, source) for source in image) for plane in ours)
    assert np.array_equal(ours[0], image[0])
    assert np.array_equal(ours[-1], image[-1])


@pytest.mark.parametrize(
    ("spacing", "target", "axis"),
    [
        ((5.0, 1.0, 1.0), (1.0, 1.0, 1.0), 0),
        ((1.0, 1.0, 1.0), (5.0, 1.0, 1.0), 0),
        ((1.0, 1.0, 4.0), (1.0, 1.0, 1.0), 2),
        ((3.0, 1.0, 1.0), (1.0, 1.0, 1.0), None),
        ((5.0, 5.0, 1.0), (1.0, 1.0, 1.0), None),
    ],
)
def test_one_axis_is_thick_beyond_a_factor_of_three(spacing, target, axis):
    assert thick_axis(spacing, target) == axis


def test_the_shape_follows_the_spacing():
    assert new_shape((40, 50, 35), (1.0, 2.0, 1.0), (2.0, 1.0, 1.0)) == (20, 100, 35)


def test_equal_shapes_are_left_alone():
    image = smooth((5, 6, 7))[None]
    assert np.array_equal(resample_image(image, (1, 1, 1), (1, 1, 1), (5, 6, 7)), image)


def test_logits_are_linear():
    logits = np.stack([smooth((10, 12, 14), seed) for seed in range(3)])
    shape = (20, 18, 21)
    ours = resample_logits(logits, (1.0, 1.0, 1.0), (0.5, 0.7, 0.7), shape)
    wanted = resize(logits[1].astype(np.float64), shape, 1, mode="edge", anti_aliasing=False)
    assert ours.shape == (3, *shape)
    assert psnr(ours[1], wanted) > 60
