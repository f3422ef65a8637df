"""Image formats by the endings of their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet import io
from fednnunet.errors import DataError
from fednnunet.io import formats
from fednnunet.io.formats import (
    check_file,
    check_promise,
    is_nifti,
    name_fault,
    not_3d,
    unreadable,
)


def test_endings_are_told_whatever_their_case():
    assert io.ending(Path("A.NII.GZ")) == ".nii.gz"
    assert io.ending(Path("a.nii.gz.txt")) is None


@pytest.mark.parametrize(
    ("name", "is_one"), [("a.nii", True), ("A.NII.gz", True), ("a.mha", False)]
)
def test_nifti_is_told_by_the_name(name, is_one):
    assert is_nifti(Path(name)) is is_one


def test_a_file_is_there_and_of_a_known_format(tmp_path):
    (tmp_path / "a.mha").touch()
    check_file(tmp_path / "a.mha")
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png is no image format"):
        check_file(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"b\.mha is missing"):
        check_file(tmp_path / "b.mha")


def test_a_name_that_is_not_utf_8_is_shown_by_its_codes():
    fault = name_fault(Path("/data/caf\udce9.nii"))
    assert fault is not None and fault.what == "the name caf\\xe9.nii is not UTF-8"
    assert name_fault(Path("/data/café.nii")) is None


def test_voxels_must_fit_the_memory_as_stored_and_as_float32(tmp_path, monkeypatch):
    path = tmp_path / "a.nii"
    path.touch()
    monkeypatch.setattr(formats, "memory_bytes", lambda: 600)
    assert check_promise(path, voxels=100, itemsize=2) == 200
    with pytest.raises(DataError, match="more than this machine's memory"):
        check_promise(path, voxels=100, itemsize=3)


def test_of_a_librarys_reason_the_last_line_is_shown(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(b"123")
    fault = unreadable(path, "Traceback\n  somewhere: it is \x1bbroken\n\n")
    assert fault.what == "a.nii cannot be read: it is \\x1bbroken"
    assert fault.where == f"{path}, 3 bytes"
    assert unreadable(tmp_path / "none.nii", "").what.endswith("unknown reason")


def test_the_size_of_what_is_not_3d_is_told():
    assert not_3d(Path("a.nii"), (3, 4, 5, 2)).what.endswith("its size is [3, 4, 5, 2]")
