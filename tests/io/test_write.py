"""Volumes and masks to disk."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from fednnunet import io
from fednnunet.errors import DataError, StorageError
from tests.io.volumes import a_volume


@pytest.mark.parametrize("ending", io.ENDINGS)
def test_what_is_written_is_read_again_on_the_same_grid(rng, tmp_path, ending):
    volume = a_volume(rng)
    path = tmp_path / f"a{ending}"
    io.write_volume(volume, path)
    again = io.read_volume([path])
    assert np.array_equal(again.array, volume.array)
    assert again.array.dtype == np.float32
    assert again.geometry.agrees_with(volume.geometry)
    assert io.read_header(path) == ((4, 5, 6), pytest.approx((2.5, 0.75, 0.5)))
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("ending", io.ENDINGS)
@pytest.mark.parametrize("highest, dtype", [(3, np.uint8), (300, np.uint16)])
def test_a_mask_lies_on_the_grid_of_its_image(rng, tmp_path, ending, highest, dtype):
    image, mask = tmp_path / "image.nii.gz", tmp_path / f"mask{ending}"
    volume = a_volume(rng)
    io.write_volume(volume, image)
    values = np.zeros(volume.shape_vox, np.int16)
    values[1, 2, 3] = highest
    io.write_mask(values, io.read_volume([image]).geometry, mask, like=image)
    one, other = SimpleITK.ReadImage(str(image)), SimpleITK.ReadImage(str(mask))
    for question in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(one, question)(), getattr(other, question)(), atol=1e-5)
    stored = SimpleITK.GetArrayFromImage(other)
    assert stored.dtype == dtype
    assert np.array_equal(stored, values)
    if ending.startswith(".nii"):
        assert np.allclose(nibabel.load(image).affine, nibabel.load(mask).affine, atol=1e-5)


def test_an_interrupted_write_leaves_the_earlier_file(rng, tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    io.write_volume(a_volume(rng), path)
    before = path.read_bytes()

    def fail(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(SimpleITK, "WriteImage", fail)
    with pytest.raises(RuntimeError):
        io.write_volume(a_volume(rng), path)
    assert path.read_bytes() == before


def test_an_ending_that_is_not_known_is_refused(rng, tmp_path):
    with pytest.raises(DataError, match="has no known image ending") as fault:
        io.write_volume(a_volume(rng), tmp_path / "a.png")
    assert ".nii.gz" in fault.value.mend and not list(tmp_path.iterdir())


def test_a_header_and_its_voxels_are_written_together(rng, tmp_path):
    io.write_volume(a_volume(rng), tmp_path / "a.mhd")
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written[0] == "a.mhd" and len(written) == 2
    assert f"ElementDataFile = {written[1]}" in (tmp_path / "a.mhd").read_text()


def test_a_file_that_was_written_in_part_takes_no_name(rng, tmp_path, monkeypatch):
    whole = SimpleITK.WriteImage

    def in_part(image, name, *settings):
        whole(image, name, *settings)
        path = Path(name)
        path.write_bytes(path.read_bytes()[:-8])

    monkeypatch.setattr(SimpleITK, "WriteImage", in_part)
    with pytest.raises(StorageError, match="written in part"):
        io.write_volume(a_volume(rng), tmp_path / "a.nii")
    assert not (tmp_path / "a.nii").exists()
