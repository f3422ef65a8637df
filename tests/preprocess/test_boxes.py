"""Boxes as voxels of a volume, and as bits of a map."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from fednnunet import io
from fednnunet.case_labels import LabelBox
from fednnunet.preprocess.boxes import box_map, filled_map, is_inside, voxels_of
from fednnunet.volume import Geometry, Volume


def a_volume(*shape_vox, spacing_mm=1.0):
    geometry = Geometry(spacing_mm=(spacing_mm,) * 3)
    return Volume(array=np.zeros((1, *shape_vox), np.float32), geometry=geometry)


@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR"])
@pytest.mark.parametrize("edges", [0.0, -0.5])
def test_places_in_mm_are_those_of_the_nifti_affine(tmp_path, code, edges):
    """Corners at the centres of the voxels, or half a voxel lower, at their edges."""
    ornt = nibabel.orientations.axcodes2ornt(code)
    affine = np.linalg.inv(nibabel.orientations.inv_ornt_aff(ornt, (9, 9, 9)))
    affine = affine @ np.diag([2.0, 1.5, 0.5, 1.0])
    affine[:3, 3] += (30, -20, 7)
    path = tmp_path / "x.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 8, 7), np.float32), affine), path)
    volume = io.read_volume([path])
    corners = np.array([[1, 2, 3], [4, 4, 7]]) + edges
    places = nibabel.affines.apply_affine(affine, corners)
    low, high = places.min(0), places.max(0)
    box = LabelBox(label=1, low=tuple(low), high=tuple(high), unit="mm")
    found = voxels_of(box, volume)
    if edges == 0.0:  # half open along the patient's axes: those that point back keep the far end
        assert all(b - a == n for (a, b), n in zip(found, (4, 2, 3), strict=True))
    else:
        assert found == ((3, 7), (2, 4), (1, 4))


def test_a_box_in_mm_between_voxel_centres_is_the_voxel_that_it_lies_in():
    volume = a_volume(5, 5, 5, spacing_mm=2.0)
    box = LabelBox(label=2, low=(-4.6, -4.6, 3.5), high=(-4.4, -4.4, 3.7), unit="mm")
    assert np.argwhere(box_map([box], volume)).tolist() == [[2, 2, 2]]


def test_voxel_boxes_have_the_order_of_the_files_axes():
    box = LabelBox(label=3, low=(1, 2, 3), high=(3, 5, 4), unit="voxel")
    assert voxels_of(box, a_volume(6, 6, 6)) == ((3, 4), (2, 5), (1, 3))


@pytest.mark.parametrize(
    ("extent", "inside"),
    [
        (((0, 4), (0, 5), (0, 6)), True),
        (((-1, 4), (0, 5), (0, 6)), False),
        (((0, 4), (0, 5), (0, 7)), False),
    ],
)
def test_a_box_lies_in_a_volume_with_all_its_voxels(extent, inside):
    assert is_inside(extent, (4, 5, 6)) is inside


def test_boxes_that_overlap_set_a_bit_each():
    boxes = [
        LabelBox(label=1, low=(0, 0, 0), high=(2, 2, 2), unit="voxel"),
        LabelBox(label=15, low=(1, 1, 1), high=(3, 3, 3), unit="voxel"),
    ]
    bits = box_map(boxes, a_volume(4, 4, 4))
    assert bits.dtype == np.int16
    assert [np.count_nonzero(bits == value) for value in (1, 1 << 14, 1 | 1 << 14)] == [7, 7, 1]


def test_a_filled_map_gives_the_bit_of_each_value():
    assert filled_map(np.array([[[0, 1, 2, 3, 4]]]), 3).tolist() == [[[0, 1, 2, 4, 0]]]
