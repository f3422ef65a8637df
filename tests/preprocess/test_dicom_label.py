from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fednnunet.errors import DataError
from fednnunet.preprocess.dicom_label import _filled, affine
from fednnunet.volume import Geometry, Volume

pytest.importorskip("skimage")


def an_image(*shape, **geometry):
    values = {"spacing_mm": (3.0, 0.5, 0.5)} | geometry
    return Volume(array=np.zeros((1, *shape)), geometry=Geometry(**values))


def square(image, z, low, high):
    """A contour in mm (x, y, z) through voxel centres of the slice `z`."""
    corners = [(z, low, low), (z, low, high), (z, high, high), (z, high, low)]
    index = np.array([(*corner, 1) for corner in corners], float)
    return (index @ affine(image).T)[:, :3]


def test_a_contour_between_voxels_is_filled_without_bias():
    geometry = Geometry(spacing_mm=(3.0, 0.5, 0.5))
    image = Volume(array=np.zeros((1, 3, 120, 120)), geometry=geometry)
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    index = np.stack(
        [np.ones(200), 60.3 + 40 * np.sin(angles), 58.7 + 40 * np.cos(angles), np.ones(200)], 1
    )
    points = (index @ affine(image).T)[:, :3]
    mask = _filled([points], image, "disc", Path())
    assert mask[1].sum() == pytest.approx(np.pi * 40**2, rel=3e-3)
    assert not mask[0].any()


def test_the_affine_leads_from_voxels_to_the_patient():
    image = an_image(2, 3, 4, origin_mm=(10.0, 20.0, 30.0))
    assert affine(image) @ (1, 2, 3, 1) == pytest.approx((11.5, 21.0, 33.0, 1))


def test_a_contour_inside_another_is_a_hole_and_its_edge_belongs_to_the_mask():
    image = an_image(3, 20, 20)
    mask = _filled([square(image, 1, 3, 15), square(image, 1, 6, 12)], image, "ring", Path())
    assert mask[1].sum() == 13 * 13 - 5 * 5  # 13 voxels a side, and a hole of 5
    assert not mask[1, 8, 8]
    assert mask[1, 6, 6]
    assert mask[[0, 2]].sum() == 0


def test_contours_between_slices_are_counted_and_refused():
    image = an_image(3, 20, 20)
    contours = [square(image, 1, 3, 9), square(image, 7, 3, 9)]
    with pytest.raises(DataError, match="1 of 2 contours of 'ring'"):
        _filled(contours, image, "ring", Path("rt.dcm"))
