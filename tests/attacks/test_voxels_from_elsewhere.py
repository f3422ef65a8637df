"""Headers that name files outside of their folder as their voxels."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK

from fednnunet import io
from fednnunet.errors import DataError

OUTSIDE = ["../secret.txt", "/etc/passwd", "sub/../../secret.txt", "..\\secret.txt", "C:\\a.raw"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret.txt").write_bytes(bytes(range(120)) * 9)
    folder = tmp_path / "imagesTr"
    folder.mkdir()
    (folder / "sub").mkdir()
    return folder


def meta(folder, named):
    path = folder / "a.mhd"
    path.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_UCHAR\n"
        f"ElementSpacing = 1 1 1\nElementDataFile = {named}\n"
    )
    return path


def nrrd(folder, named):
    path = folder / "a.nrrd"
    path.write_text(
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 5 6\nencoding: raw\n"
        f"space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
        f"space origin: (0,0,0)\ndata file: {named}\n\n"
    )
    return path


@pytest.mark.parametrize("write", [meta, nrrd])
@pytest.mark.parametrize("named", OUTSIDE)
def test_a_file_outside_of_the_folder_is_not_read_as_voxels(folder, write, named):
    path = write(folder, named)
    for read in (io.read_header, io.read_raw, io.read_label, io.read_4d):
        with pytest.raises(DataError, match="outside of its folder"):
            read(path)


@pytest.mark.parametrize("write", [meta, nrrd])
@pytest.mark.parametrize("named", ["LIST", "LIST 2", "../s%03d.raw 1 9 1", "a%d.raw", "-"])
def test_lists_patterns_and_standard_input_are_refused(folder, write, named):
    with pytest.raises(DataError):
        io.read_volume([write(folder, named)])


@pytest.mark.parametrize("write", [meta, nrrd])
def test_a_link_that_leads_outside_is_refused(folder, write):
    (folder / "a.raw").symlink_to(folder.parent / "secret.txt")
    with pytest.raises(DataError, match="outside of its folder"):
        io.read_volume([write(folder, "a.raw")])


@pytest.mark.parametrize("write", [meta, nrrd])
@pytest.mark.parametrize("named", ["a.raw", "sub/a.raw"])
def test_detached_voxels_in_the_folder_are_read(folder, write, named):
    (folder / named).write_bytes(bytes(range(120)))
    volume = io.read_volume([write(folder, named)])
    assert np.array_equal(volume.array.ravel(), np.arange(120))


def test_a_second_line_of_the_same_name_does_not_help(folder):
    (folder / "a.raw").write_bytes(bytes(120))
    path = nrrd(folder, "a.raw\ndatafile: ../secret.txt")
    with pytest.raises(DataError, match="twice"):
        io.read_volume([path])


def test_what_simpleitk_writes_in_two_files_is_read(tmp_path):
    image = SimpleITK.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    SimpleITK.WriteImage(image, str(tmp_path / "a.mhd"), True)
    assert io.read_raw(tmp_path / "a.mhd").array.sum() == np.arange(24).sum()
