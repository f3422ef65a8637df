import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from fednnunet.preprocess.crop import _flood, crop, inside_mask, mark_outside, nonzero_box


def _image(rng, share, channels=1):
    return np.where(rng.random((channels, 14, 17, 19)) < share, 0, rng.normal(size=(14, 17, 19)))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("channels", [1, 2])
def test_box_and_mask_are_those_of_filling_holes_in_the_whole_volume(share, channels):
    rng = np.random.default_rng(int(share * 100) + channels)
    image = _image(rng, share, channels)
    image[:, :3] = 0
    image[:, :, -4:] = 0
    filled = binary_fill_holes((image != 0).any(axis=0))
    found = np.argwhere(filled)
    box = nonzero_box(image)
    assert box == tuple(zip(found.min(0), found.max(0) + 1, strict=True))
    inside = inside_mask(crop(image, box))
    expected = crop(filled, box)
    assert np.array_equal(expected, np.ones_like(expected) if inside is None else inside)


def test_growing_from_the_surface_agrees_with_components_or_gives_up():
    winding = np.zeros((5, 40, 40), bool)
    winding[2, 1::4, :-1] = True
    winding[2, :, 0] = True
    assert _flood(winding) is None
    shallow = np.zeros((60, 60, 60), bool)
    shallow[0, 3, 3] = shallow[1, 3, 3] = shallow[30, 30, 30] = True
    outside = _flood(shallow)
    assert outside is not None
    assert np.argwhere(outside).tolist() == [[0, 3, 3], [1, 3, 3]]


def test_an_image_of_zeros_keeps_its_whole_box():
    empty = np.zeros((1, 3, 4, 5))
    assert nonzero_box(empty) == ((0, 3), (0, 4), (0, 5))
    assert not inside_mask(empty).any()


def test_labels_outside_the_mask_stay_and_background_there_becomes_minus_one():
    label = np.array([[[0, 1], [0, 2]]], np.uint8)
    inside = np.array([[[True, False], [False, True]]])
    assert mark_outside(label, inside).tolist() == [[[0, 1], [-1, 2]]]
    assert mark_outside(label, None).tolist() == label.tolist()
