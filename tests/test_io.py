from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK

from fednnunet import io
from fednnunet.errors import DataError, FedNNUNetError
from fednnunet.volume import Geometry, Volume

OBLIQUE = Geometry(
    spacing_mm=(2.5, 0.8, 0.7),
    origin_mm=(-12.0, 7.5, 30.0),
    direction=(0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
)


def an_image():
    return np.arange(4 * 5 * 6, dtype=np.float32).reshape(1, 4, 5, 6)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_every_format_keeps_voxels_and_place(tmp_path, ending):
    path = tmp_path / f"image{ending}"
    io.write_volume(Volume(array=an_image(), geometry=OBLIQUE), path)
    back = io.read_volume([path])
    assert np.array_equal(back.array, an_image())
    assert back.geometry.agrees_with(OBLIQUE)
    itk = SimpleITK.ReadImage(str(path))
    assert itk.GetSpacing() == pytest.approx((0.7, 0.8, 2.5), rel=1e-5)
    assert itk.GetDirection() == pytest.approx(OBLIQUE.direction, abs=1e-5)


def test_nibabel_sees_the_same_voxels(tmp_path):
    path = tmp_path / "image.nii.gz"
    io.write_volume(Volume(array=an_image(), geometry=OBLIQUE), path)
    seen = np.asarray(nibabel.load(path).dataobj)
    assert np.array_equal(seen.transpose(2, 1, 0), an_image()[0])


def test_channels_are_stacked_in_order(tmp_path):
    paths = [tmp_path / f"c_000{i}.nii.gz" for i in range(2)]
    for i, path in enumerate(paths):
        io.write_volume(Volume(array=an_image() + i, geometry=OBLIQUE), path)
    assert np.array_equal(io.read_volume(paths).array, np.concatenate([an_image(), an_image() + 1]))


def test_channels_on_other_grids_are_refused(tmp_path):
    paths = [tmp_path / f"c_000{i}.nii.gz" for i in range(2)]
    io.write_volume(Volume(array=an_image(), geometry=OBLIQUE), paths[0])
    other = Geometry(spacing_mm=(1.0, 1.0, 1.0))
    io.write_volume(Volume(array=an_image(), geometry=other), paths[1])
    with pytest.raises(FedNNUNetError, match="c_0001"):
        io.read_volume(paths)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_truncated_file_is_refused(tmp_path, ending):
    path = tmp_path / f"image{ending}"
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1, 20, 20, 20)).astype(np.float32)
    io.write_volume(Volume(array=noise, geometry=OBLIQUE), path)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(DataError, match=r"image"):
        io.read_volume([path])


def test_four_dimensions_are_refused(tmp_path):
    path = tmp_path / "image.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 3), np.float32), np.eye(4)), path)
    with pytest.raises(DataError, match="not one 3D image"):
        io.read_volume([path])


def test_labels_must_be_whole_numbers(tmp_path):
    path = tmp_path / "label.nii.gz"
    io.write_volume(Volume(array=an_image() + 0.5, geometry=OBLIQUE), path)
    with pytest.raises(DataError, match=r"label\.nii\.gz"):
        io.read_label(path)


def test_nan_is_not_passed_over(tmp_path):
    path = tmp_path / "image.nii.gz"
    image = an_image()
    image[0, 1, 2, 3] = np.nan
    io.write_volume(Volume(array=image, geometry=OBLIQUE), path)
    assert np.isnan(io.read_volume([path]).array).sum() == 1
