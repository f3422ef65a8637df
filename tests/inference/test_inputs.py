"""What may be predicted: a folder, one image; and what is a folder with DICOM series."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.inference.inputs import is_dicom, list_inputs


def test_a_folder_is_all_its_cases(tmp_path: Path) -> None:
    for name in ("a_0000.nii.gz", "b_0000.nii.gz"):
        (tmp_path / name).touch()
    found = list_inputs(tmp_path, 1)
    assert [case.name for case in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "case"), [("a_0000.nii.gz", "a"), ("b.nrrd", "b"), ("C_0000.NII.GZ", "C")]
)
def test_one_image_is_a_case(tmp_path: Path, name: str, case: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "other_0000.nii.gz").touch()
    (found,) = list_inputs(tmp_path / name, 1)
    assert found.name == case and found.images == (tmp_path / name,)


def test_further_channels_lie_beside_the_first(tmp_path: Path) -> None:
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "c.nii.gz"):
        (tmp_path / name).touch()
    (found,) = list_inputs(tmp_path / "a_0000.nii.gz", 2)
    assert [path.name for path in found.images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    for name in ("b_0000.nii.gz", "c.nii.gz"):
        with pytest.raises(InputError, match="needs 2 channels"):
            list_inputs(tmp_path / name, 2)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="no image format"):
        list_inputs(tmp_path / "a.txt", 1)
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FedNNUNetError, match=r"no images|missing"):
            list_inputs(place, 1)


def test_a_folder_with_dicom_files_and_no_images_is_dicom(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "note.txt").write_text("none")
    assert not is_dicom(tmp_path / "in") and not is_dicom(tmp_path / "nowhere")
    (tmp_path / "in" / "deep" / "1").write_bytes(b"\0" * 128 + b"DICM")
    assert is_dicom(tmp_path / "in") and not is_dicom(tmp_path / "in" / "deep" / "1")
    (tmp_path / "in" / "a_0000.nii.gz").touch()
    assert not is_dicom(tmp_path / "in")
