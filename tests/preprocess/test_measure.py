from __future__ import annotations

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fednnunet.planning.orientation import ORIENTATIONS
from fednnunet.preprocess.measure import measure_case
from fednnunet.preprocess.orient import orientation_code
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_orientations_are_those_of_nibabel(code: str) -> None:
    ornt = nibabel.orientations.axcodes2ornt(code)
    affine = np.linalg.inv(nibabel.orientations.inv_ornt_aff(ornt, (1, 1, 1)))[:3, :3].T
    tilt = Rotation.from_euler("xyz", [10, -15, 20], degrees=True).as_matrix()
    for ras in (np.rint(affine), tilt @ np.rint(affine)):
        full = np.eye(4)
        full[:3, :3] = ras
        expected = "".join(nibabel.aff2axcodes(full))
        lps = np.diag([-1, -1, 1]) @ ras
        geometry = Geometry(spacing_mm=(1, 1, 1), direction=tuple(lps.ravel().tolist()))
        assert orientation_code(geometry) == expected


def test_a_volume_without_a_direction_is_of_unknown_orientation() -> None:
    assert orientation_code(Geometry(spacing_mm=(1, 1, 1), direction=(0.0,) * 9)) == ""
    flat = Geometry(spacing_mm=(1, 1, 1), direction=(1.0, 0, 0, 1.0, 0, 0, 0, 0, float("nan")))
    assert orientation_code(flat) == ""


def test_a_case_is_measured_with_its_orientation() -> None:
    task = Task(name="t", channels=("CT",), labels=("background", "organ"))
    image = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)
    label = np.zeros((4, 5, 6), np.int16)
    label[1:3, 1:3, 1:3] = 1
    case = measure_case(Volume(array=image, geometry=Geometry(spacing_mm=(2, 1, 1))), label, task)
    assert case.orientation == "LPS" and case.kind == "full"
    assert case.voxels_per_label == (112, 8) and case.shape_vox == (4, 5, 6)
