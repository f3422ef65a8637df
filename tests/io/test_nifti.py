"""NIfTI files."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK

from fednnunet import io
from fednnunet.errors import DataError
from tests.io.volumes import a_volume


def test_a_sheared_nifti_is_read_and_its_mask_has_the_very_affine(rng, tmp_path):
    affine = np.array([[1, 0.2, 0, 5], [0, 1.5, 0.1, -7], [0, 0, 2, 9], [0, 0, 0, 1.0]])
    voxels = rng.normal(size=(3, 4, 5)).astype(np.float32)
    path, out = tmp_path / "sheared.nii.gz", tmp_path / "mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    with pytest.raises(RuntimeError, match="orthonormal"):
        SimpleITK.ReadImage(str(path))
    volume = io.read_volume([path])
    assert np.array_equal(volume.array[0], voxels.T)
    assert volume.spacing_mm == pytest.approx(np.linalg.norm(affine[:3, :3], axis=0)[::-1])
    io.write_mask(np.ones(volume.shape_vox, np.uint8), volume.geometry, out, like=path)
    assert np.allclose(nibabel.load(out).affine, affine)
    again = tmp_path / "again.nii.gz"
    io.write_volume(volume, again)
    assert np.allclose(nibabel.load(again).affine, affine, atol=1e-5)


def test_a_corrupted_gzip_is_named(rng, tmp_path):
    path = tmp_path / "a.nii.gz"
    io.write_volume(a_volume(rng, shape=(20, 30, 40)), path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        io.read_volume([path])


def test_nibabel_sees_the_same_voxels(rng, tmp_path):
    path = tmp_path / "image.nii.gz"
    volume = a_volume(rng)
    io.write_volume(volume, path)
    seen = np.asarray(nibabel.load(path).dataobj)
    assert np.array_equal(seen.transpose(2, 1, 0), volume.array[0])
