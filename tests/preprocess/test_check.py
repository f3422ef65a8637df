"""Every fault of a folder in one report, on the sites of phantoms spoilt on purpose."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest

from fednnunet import io
from fednnunet.preprocess.check import check_site
from fednnunet.volume import Geometry
from tests.preprocess.sound_site import GRID, image_path, label_path, make_sound_site


@pytest.fixture
def folder(tmp_path):
    make_sound_site(tmp_path / "berlin")
    return tmp_path / "berlin"


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


@pytest.mark.parametrize("name", ["hippocampus/site_d", "sarcoma_ct/north", "spinal_cord_gm/Milan"])
def test_real_sites_are_fit(shared_data, name):
    report = check_site(shared_data / name)
    assert report.faults == ()
