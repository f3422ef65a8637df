"""Small files whose voxels would fill the memory, and headers that promise what no file holds."""

from __future__ import annotations

import gzip
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK

from fednnunet import io
from fednnunet.errors import DataError
from fednnunet.io import formats
from fednnunet.preprocess.check import check_site
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ"))
HEADER_BYTES = [(111, 113), (44, 0), (47, 255), (87, 241), (282, 192), (283, 127)]


def nifti(shape=(4, 5, 6)):
    return nibabel.Nifti1Image(np.ones(shape, np.uint8), np.diag([1.0, 1.0, 2.0, 1.0])).to_bytes()


def test_a_compressed_file_that_goes_on_after_its_voxels_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti() + bytes(64 << 20)))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="expands to more than"):
        io.read_volume([path])


def test_a_second_gzip_member_does_not_help(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti()) + gzip.compress(bytes(64 << 20)))
    with pytest.raises(DataError, match="expands to more than"):
        io.read_volume([path])


@pytest.mark.parametrize("compressed", [True, False])
def test_a_header_that_promises_more_than_its_file_can_hold_is_refused(tmp_path, compressed):
    data = bytearray(nifti())
    data[40:48] = struct.pack("<4h", 3, 1000, 1000, 1000)
    path = tmp_path / ("a.nii.gz" if compressed else "a.nii")
    path.write_bytes(gzip.compress(bytes(data)) if compressed else bytes(data))
    for read in (io.read_header, io.read_label, io.read_raw):
        with pytest.raises(DataError, match="shorter than"):
            read(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_an_image_larger_than_the_memory_is_refused_before_it_is_read(
    tmp_path, monkeypatch, ending
):
    path = tmp_path / f"a{ending}"
    SimpleITK.WriteImage(SimpleITK.Image([40, 40, 40], SimpleITK.sitkInt16), str(path), True)
    monkeypatch.setattr(formats, "memory_bytes", lambda: 6 * 40**3 - 1)
    with pytest.raises(DataError, match="more than this machine's memory"):
        io.read_volume([path])
    monkeypatch.setattr(formats, "memory_bytes", lambda: 6 * 40**3)
    assert io.read_volume([path]).shape_vox == (40, 40, 40)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_a_text_header_that_promises_more_than_its_file_can_hold_is_refused(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    SimpleITK.WriteImage(SimpleITK.Image([4, 5, 6], SimpleITK.sitkInt16), str(path), True)
    data = path.read_bytes()
    assert b"4 5 6" in data
    path.write_bytes(data.replace(b"4 5 6", b"999 999 999"))
    with pytest.raises(DataError, match="too short"):
        io.read_volume([path])


@pytest.mark.parametrize("place, value", HEADER_BYTES)
def test_a_damaged_header_loses_no_other_finding_of_a_site(tmp_path, place, value):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        (tmp_path / f"imagesTr/{name}_0000.nii").write_bytes(nifti())
        (tmp_path / f"labelsTr/{name}.nii").write_bytes(nifti())
    data = bytearray(nifti())
    data[place] = value
    (tmp_path / "imagesTr/a_0000.nii").write_bytes(data)
    (tmp_path / "labelsTr/c.nii").write_bytes(nifti())
    report = check_site(tmp_path, TASK)
    found = " ".join(fault.what for fault in report.faults)
    assert "a_0000.nii" in found
    assert "label map c.nii has no image" in found
    assert report.cases in (1, 2)  # a grid that can be read is only unlike its label map's


def test_voxels_are_read_after_a_long_extension_and_with_a_little_padding(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti() + bytes(1000)))
    assert io.read_volume([path]).array.sum() == 4 * 5 * 6
