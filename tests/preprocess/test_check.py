"""Every fault of a folder in one report, on the sites of phantoms spoilt on purpose."""

from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pytest

from fednnunet import io
from fednnunet.commands.check import main
from fednnunet.preprocess.check import check_site
from fednnunet.volume import Geometry, Volume

GRID = Geometry(spacing_mm=(1.0, 1.0, 1.0))


@pytest.fixture
def folder(tmp_path):
    """Six sound cases."""
    site = tmp_path / "berlin"
    for number in range(6):
        rng = np.random.default_rng(number)
        image = rng.normal(100, 10, (1, 12, 13, 14)).astype(np.float32)
        label = np.zeros((12, 13, 14), np.uint8)
        label[4:8, 4:8, 4:8] = 1
        io.write_volume(Volume(array=image, geometry=GRID), image_path(site, number))
        io.write_mask(label, GRID, label_path(site, number))
    header = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "organ": 1}}
    (site / "dataset.json").write_text(json.dumps(header))
    return site


def image_path(site, number):
    return site / "imagesTr" / f"case_{number}_0000.nii.gz"


def label_path(site, number):
    return site / "labelsTr" / f"case_{number}.nii.gz"


def words(report):
    return "\n".join(str(fault.error()) for fault in report.faults)


def test_a_sound_site_is_fit(folder):
    report = check_site(folder)
    assert report.verdict == "fit"
    assert report.cases_per_label == {"organ": 6}


def test_all_faults_come_at_once(folder):
    image_path(folder, 0).write_bytes(gzip.compress(b"x" * 900)[:-5])
    volume = io.read_volume([image_path(folder, 1)])
    volume.array[0, 3, 3, 3] = np.nan
    io.write_volume(volume, image_path(folder, 1))
    label = io.read_label(label_path(folder, 2)).array[0]
    label[0, 0, :5] = 7
    io.write_mask(label, GRID, label_path(folder, 2))
    shifted = Geometry(spacing_mm=(1.0, 1.0, 1.0), origin_mm=(40.0, 0.0, 0.0))
    io.write_mask(np.zeros((12, 13, 14), np.uint8), shifted, label_path(folder, 3))
    label_path(folder, 4).unlink()
    report = check_site(folder)
    found = words(report)
    assert report.verdict == "not fit"
    for name in ("case_0_0000", "case_1_0000", "case_2", "case_3", "case_4"):
        assert name in found
    assert "label 7" in found
    assert "NaN" in found
    assert len(report.faults) >= 5


def test_a_copy_is_found_by_its_voxels(folder):
    shutil.copy(image_path(folder, 0), image_path(folder, 5))
    assert "same voxels" in words(check_site(folder))


def test_the_command_says_what_and_gives_its_code(folder, tmp_path, capsys):
    assert main([str(folder)]) == 0
    label_path(folder, 4).unlink()
    assert main([str(folder), "-o", str(tmp_path / "report.json")]) == 2
    assert "case_4" in capsys.readouterr().err
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "not fit"


def test_a_missing_folder_is_said_to_be_missing(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) == 2
    assert "folder is missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["hippocampus/site_d", "sarcoma_ct/north", "spinal_cord_gm/Milan"])
def test_real_sites_are_fit(shared_data, name):
    report = check_site(shared_data / name)
    assert report.faults == ()
