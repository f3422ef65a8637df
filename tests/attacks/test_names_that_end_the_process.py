"""File names that are not UTF-8, at which SimpleITK ends the process."""

from __future__ import annotations

import os

import pytest

from fednnunet import io
from fednnunet.dataset import list_images, scan_dataset
from fednnunet.errors import DataError, ManyFaults
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ"))


def test_a_name_that_is_not_utf8_is_a_fault_among_the_others(tmp_path):
    for folder, name in (("imagesTr", b"\xff\xfe_0000.nii.gz"), ("labelsTr", b"\xff\xfe.nii.gz")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / os.fsdecode(name)).touch()
    (tmp_path / "imagesTr/good_0000.nii.gz").touch()
    dataset, faults = scan_dataset(tmp_path, TASK, site="oslo")
    texts = [str(fault) for fault in faults]
    assert sum("is not UTF-8" in text for text in texts) == 2
    assert any("good has no label map" in text for text in texts)
    assert [case.name for case in dataset.cases] == ["good"]
    "".join(texts).encode("utf-8")
    with pytest.raises((DataError, ManyFaults), match="not UTF-8"):
        list_images(tmp_path / "imagesTr", 1)


def test_no_reader_takes_such_a_name(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.mha")
    path.touch()
    for read in (io.read_header, io.read_raw, io.read_label, io.read_4d):
        with pytest.raises(DataError, match="UTF-8"):
            read(path)
    with pytest.raises(DataError, match="UTF-8"):
        io.read_dicom_slices([path])
