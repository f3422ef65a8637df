import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from fednnunet import io
from fednnunet.errors import DataError, ManyFaults
from fednnunet.volume import Geometry, Volume

TURN = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def _volume(rng, shape=(4, 5, 6), direction=TURN, dtype=np.float32):
    geometry = Geometry(
        spacing_mm=(2.5, 0.75, 0.5), origin_mm=(-10.0, 20.5, 3.0), direction=direction
    )
    return Volume(array=rng.integers(0, 200, (1, *shape)).astype(dtype), geometry=geometry)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("ending", io.ENDINGS)
def test_what_is_written_is_read_again_on_the_same_grid(rng, tmp_path, ending):
    volume = _volume(rng)
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
    volume = _volume(rng)
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


def test_channels_are_stacked_and_must_share_a_grid(rng, tmp_path):
    paths = [tmp_path / f"a_{c:04d}.nii.gz" for c in range(3)]
    first = _volume(rng)
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
    io.write_volume(_volume(rng, shape=(20, 30, 40)), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\.[a-z.]+ cannot be read") as fault:
        io.read_volume([path])
    assert "bytes" in fault.value.where
    assert fault.value.mend


def test_a_corrupted_gzip_is_named(rng, tmp_path):
    path = tmp_path / "a.nii.gz"
    io.write_volume(_volume(rng, shape=(20, 30, 40)), path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        io.read_volume([path])


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
        volume = _volume(rng)
        volume.array[0, 0, 0, 0] = value
        io.write_volume(volume, path)
        with pytest.raises(DataError, match=words):
            io.read_label(path)
    volume.array[:] = 2.0
    io.write_volume(volume, path)
    assert io.read_label(path).array.dtype == np.int16


def test_an_interrupted_write_leaves_the_earlier_file(rng, tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    io.write_volume(_volume(rng), path)
    before = path.read_bytes()

    def fail(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(SimpleITK, "WriteImage", fail)
    with pytest.raises(RuntimeError):
        io.write_volume(_volume(rng), path)
    assert path.read_bytes() == before


def test_endings_are_told_whatever_their_case():
    assert io.ending(Path("A.NII.GZ")) == ".nii.gz"
    assert io.ending(Path("a.nii.gz.txt")) is None


def test_nibabel_sees_the_same_voxels(rng, tmp_path):
    path = tmp_path / "image.nii.gz"
    volume = _volume(rng)
    io.write_volume(volume, path)
    seen = np.asarray(nibabel.load(path).dataobj)
    assert np.array_equal(seen.transpose(2, 1, 0), volume.array[0])


@pytest.mark.parametrize("ending", io.ENDINGS)
def test_nan_is_not_passed_over(rng, tmp_path, ending):
    path = tmp_path / f"image{ending}"
    volume = _volume(rng)
    volume.array[0, 1, 2, 3] = np.nan
    io.write_volume(volume, path)
    assert np.isnan(io.read_volume([path]).array).sum() == 1
