"""What may be predicted: a folder, one image, DICOM series."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.inference.inputs import list_inputs


def test_a_folder_is_all_its_cases(tmp_path: Path) -> None:
    for name in ("a_0000.nii.gz", "b_0000.nii.gz"):
        (tmp_path / name).touch()
    found = list_inputs(tmp_path, ("MRI",), tmp_path / "out")
    assert [case.name for case in found.cases] == ["a", "b"] and not found.faults


@pytest.mark.parametrize(
    ("name", "case"), [("a_0000.nii.gz", "a"), ("b.nrrd", "b"), ("C_0000.NII.GZ", "C")]
)
def test_one_image_is_a_case(tmp_path: Path, name: str, case: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "other_0000.nii.gz").touch()
    (found,) = list_inputs(tmp_path / name, ("MRI",), tmp_path / "out").cases
    assert found.name == case and found.images == (tmp_path / name,)


def test_further_channels_lie_beside_the_first(tmp_path: Path) -> None:
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "c.nii.gz"):
        (tmp_path / name).touch()
    (found,) = list_inputs(tmp_path / "a_0000.nii.gz", ("T1", "T2"), tmp_path / "out").cases
    assert [path.name for path in found.images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    for name in ("b_0000.nii.gz", "c.nii.gz"):
        with pytest.raises(InputError, match="needs 2 channels"):
            list_inputs(tmp_path / name, ("T1", "T2"), tmp_path / "out")


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="no image format"):
        list_inputs(tmp_path / "a.txt", ("MRI",), tmp_path / "out")
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FedNNUNetError, match=r"no images|missing"):
            list_inputs(place, ("MRI",), tmp_path / "out")


def test_dicom_series_are_converted_and_their_faults_are_listed(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    import numpy as np

    from fednnunet.io import read_volume
    from tests.preprocess.dicom_files import IDENTITY, SHAPE, write_series

    voxels = np.random.default_rng(2).integers(-1000, 1200, SHAPE).astype(float)
    write_series(tmp_path / "in" / "whole", voxels)
    write_series(tmp_path / "in" / "gap", voxels, skip=(2,))
    found = list_inputs(tmp_path / "in", ("CT",), tmp_path / "out")
    (case,) = found.cases
    assert read_volume(case.images).shape_vox == SHAPE
    assert IDENTITY not in str(case.images) and len(found.faults) == 1
    assert (tmp_path / "out.mapping.json").is_file()
    write_series(tmp_path / "gaps", voxels, skip=(2,))
    with pytest.raises(FedNNUNetError):
        list_inputs(tmp_path / "gaps", ("CT",), tmp_path / "none")
