"""Volumes from disk."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest

from fednnunet import io
from fednnunet.errors import DataError, ManyFaults
from fednnunet.volume import Geometry, Volume
from tests.io.volumes import TURN, a_volume


def test_channels_are_stacked_and_must_share_a_grid(rng, tmp_path):
    paths = [tmp_path / f"a_{c:04d}.nii.gz" for c in range(3)]
    first = a_volume(rng)
    for path in paths[:2]:
        io.write_volume(first, path)
    assert io.read_volume(paths[:2]).array.shape == (2, 4, 5, 6)
    shifted = Geometry(spacing_mm=(2.5, 0.75, 0.6), origin_mm=(0, 20.5, 3), direction=TURN)
    io.write_volume(Volume(array=first.array, geometry=shifted), paths[2])
    with pytest.raises(DataError) as fault:
        io.read_volume(paths)
    assert "a_0002.nii.gz" in fault.value.what
    assert "spacing" in fault.value.what
    assert "origin" in fault.value.what


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_truncated_file_is_named(rng, tmp_path, ending):
    path = tmp_path / f"a{ending}"
    io.write_volume(a_volume(rng, shape=(20, 30, 40)), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\.[a-z.]+ cannot be read") as fault:
        io.read_volume([path])
    assert "bytes" in fault.value.where
    assert fault.value.mend


def test_faults_of_all_channels_come_together(tmp_path):
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(b"nothing"))
    with pytest.raises(ManyFaults) as faults:
        io.read_volume([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", tmp_path / "c.png"])
    assert len(faults.value.faults) == 3


def test_a_4d_file_is_refused_and_can_be_split(rng, tmp_path):
    path = tmp_path / "a.nii.gz"
    voxels = rng.normal(size=(3, 4, 5, 2)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    with pytest.raises(DataError, match="not one 3D image"):
        io.read_volume([path])
    parts = io.read_4d(path)
    assert np.array_equal(np.stack([p.array[0] for p in parts]), voxels.T)


def test_labels_must_be_whole_numbers(rng, tmp_path):
    path = tmp_path / "a.nii.gz"
    for value, words in ((0.5, "not whole"), (np.nan, "NaN"), (1e6, "up to")):
        volume = a_volume(rng)
        volume.array[0, 0, 0, 0] = value
        io.write_volume(volume, path)
        with pytest.raises(DataError, match=words):
            io.read_label(path)
    volume.array[:] = 2.0
    io.write_volume(volume, path)
    assert io.read_label(path).array.dtype == np.int16


@pytest.mark.parametrize("ending", io.ENDINGS)
def test_nan_is_not_passed_over(rng, tmp_path, ending):
    path = tmp_path / f"image{ending}"
    volume = a_volume(rng)
    volume.array[0, 1, 2, 3] = np.nan
    io.write_volume(volume, path)
    assert np.isnan(io.read_volume([path]).array).sum() == 1
