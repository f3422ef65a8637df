"""NIfTI files."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK

from fednnunet import io
from fednnunet.errors import DataError
from fednnunet.io import nifti
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


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_header_tells_shape_and_length(tmp_path, kind, ending):
    path = tmp_path / f"a{ending}"
    nibabel.save(kind(np.zeros((3, 4, 5), np.int16), np.eye(4)), path)
    header = nifti.check_nifti(path)
    assert header.shape == (3, 4, 5) and header.kind is kind
    assert header.length == {nibabel.Nifti1Image: 352, nibabel.Nifti2Image: 544}[kind] + 2 * 60


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("dim", [3, 0, 4, 5, 1, 1, 1, 1], r"the size \[0, 4, 5\] of 3 axes"),
        ("dim", [9, 3, 4, 5, 1, 1, 1, 1], r"the size \[\] of"),
        ("datatype", 9999, "unknown type 9999"),
        ("pixdim", [1, 0, 1, 1, 1, 1, 1, 1], "the voxel size"),
        ("vox_offset", 1e9, "voxels that begin at byte"),
        ("scl_slope", np.inf, "infinite slope"),
        ("srow_x", [np.nan, 0, 0, 0], "sform"),
    ],
)
def test_a_header_that_no_image_has_is_refused(tmp_path, field, value, words):
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    path = tmp_path / "a.nii"
    nibabel.save(image, path)
    header = nibabel.Nifti1Header(path.read_bytes()[:348], check=False)
    header[field] = value
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    with pytest.raises(DataError, match=words):
        nifti.check_nifti(path)


def test_what_is_no_nifti_file_is_refused(tmp_path):
    (tmp_path / "a.nii").write_bytes(bytes(400))
    with pytest.raises(DataError, match="does not begin with a NIfTI header"):
        nifti.check_nifti(tmp_path / "a.nii")


def test_a_file_is_read_as_stored_or_in_a_type(tmp_path):
    path = tmp_path / "a.nii"
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 2.0, 3.0, 1.0])), path)
    assert nifti.read(path, None).array.dtype == np.int16
    read = nifti.read(path, np.float32)
    assert read.array.dtype == np.float32 and np.array_equal(read.array[0], voxels.T)
    assert read.spacing_mm == pytest.approx((3.0, 2.0, 1.0))
