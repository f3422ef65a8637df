import json

import nibabel
import numpy as np
import pytest

from fednnunet import io
from fednnunet.commands.check import main
from fednnunet.dataset_header import task_of
from fednnunet.errors import InputError
from fednnunet.preprocess.check import check_site
from fednnunet.preprocess.fix import fix_site
from fednnunet.volume import Geometry, Volume

GRID = Geometry(spacing_mm=(1.5, 1.0, 0.9), origin_mm=(3.0, 4.0, 5.0))


def _write(site, name, *, image=None, label=None, file=None, geometry=GRID):
    rng = np.random.default_rng(sum(map(ord, name)))
    if image is None:
        image = rng.normal(100, 10, (8, 9, 10)).astype(np.float32)
    if label is None:
        label = np.zeros((8, 9, 10), np.float32)
        label[3:5, 3:5, 3:5] = 1
    io.write_volume(
        Volume(array=image[None], geometry=GRID),
        site / "imagesTr" / (file or f"{name}_0000.nii.gz"),
    )
    io.write_volume(
        Volume(array=label[None], geometry=geometry), site / "labelsTr" / f"{name}.nii.gz"
    )
    return image, label


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    for name in ("sound_a", "sound_b", "sound_c"):
        _write(folder, name)
    header = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "organ": 1}}
    (folder / "dataset.json").write_text(json.dumps(header))
    return folder


def _snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _by_case(fixed):
    return {case.case: case for case in fixed}


def test_what_can_be_mended_is_and_the_copy_is_fit(site, tmp_path, capsys):
    spoilt, _ = _write(site, "nan")
    spoilt[2, 2, 2] = np.nan
    _write(site, "nan", image=spoilt)
    _write(site, "nonumber", file="nonumber.nii.gz")
    _write(site, "shifted", file="shifted_0001.nii.gz")
    _write(site, "lost", geometry=Geometry(spacing_mm=(1, 1, 1)))
    label = np.zeros((8, 9, 10), np.float32)
    label[1, 2, 3] = 0.9999
    _write(site, "rounding", label=label)
    before = _snapshot(site)
    out = tmp_path / "copy"
    assert main([str(site)]) == 2
    assert main([str(site), "--fix", str(out)]) == 0
    assert _snapshot(site) == before
    assert check_site(out).verdict == "fit"
    again = io.read_volume([out / "imagesTr" / "nan_0000.nii.gz"]).array[0]
    assert again[2, 2, 2] == np.nanmin(spoilt)
    assert (out / "imagesTr" / "shifted_0000.nii.gz").is_file()
    fixed = io.read_label(out / "labelsTr" / "lost.nii.gz")
    assert fixed.geometry.agrees_with(GRID)
    assert "nonumber" in capsys.readouterr().out


def test_what_cannot_be_mended_is_left_out_by_name(site, tmp_path):
    image, label = _write(site, "zz_twin")
    _write(site, "sound_a", image=image)
    _write(site, "foreign", label=label * 7)
    _write(site, "halves", label=label * 0.5)
    _write(site, "moved", geometry=Geometry(spacing_mm=(1.5, 1.0, 0.9), origin_mm=(90, 4, 5)))
    _write(site, "smaller", label=label[1:])
    (site / "labelsTr" / "sound_b.nii.gz").unlink()
    (site / "imagesTr" / "sound_c_0000.nii.gz").write_bytes(b"broken")
    fixed = _by_case(fix_site(site, tmp_path / "copy", task_of(site)))
    for name, words in {
        "zz_twin": "same voxels as sound_a",
        "foreign": "[7]",
        "halves": "whole numbers",
        "moved": "another grid",
        "smaller": "shape",
        "sound_b": "no label map",
        "sound_c": "cannot be read",
    }.items():
        assert words in fixed[name].left_out
        assert not list((tmp_path / "copy").rglob(f"{name}*"))
    assert not fixed["sound_a"].left_out


def test_channels_in_one_4d_file_are_split(tmp_path):
    site = tmp_path / "site"
    rng = np.random.default_rng(1)
    voxels = rng.normal(size=(6, 5, 4, 2)).astype(np.float32)
    (site / "imagesTr").mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), site / "imagesTr" / "a_0000.nii.gz")
    grid = io.read_4d(site / "imagesTr" / "a_0000.nii.gz")[0].geometry
    io.write_mask(np.ones((4, 5, 6), np.uint8), grid, site / "labelsTr" / "a.nii.gz")
    header = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "organ": 1}}
    (site / "dataset.json").write_text(json.dumps(header))
    fixed = fix_site(site, tmp_path / "copy", task_of(site))
    assert "split into 2" in fixed[0].mended[0]
    paths = [tmp_path / "copy" / "imagesTr" / f"a_{c:04d}.nii.gz" for c in range(2)]
    assert np.array_equal(io.read_volume(paths).array, voxels.T)
    assert check_site(tmp_path / "copy").verdict == "fit"


def test_originals_are_never_written_over(site, tmp_path):
    for out in (site, site / "inside", tmp_path):
        with pytest.raises(InputError, match="not a new folder"):
            fix_site(site, out, task_of(site))
