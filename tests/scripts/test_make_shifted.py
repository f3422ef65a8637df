"""Four scanners out of four sites."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fednnunet import io


@pytest.fixture(scope="module")
def shifted(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("make_shifted")


@pytest.fixture
def source(tmp_path: Path, phantoms: ModuleType) -> Path:
    """Four sites with one phantom case each."""
    phantoms.make_federation(tmp_path / "phantoms", train=2, test=0)
    for site in "abcd":
        shutil.copytree(tmp_path / "phantoms" / "south", tmp_path / "source" / f"site_{site}")
    return tmp_path / "source"


def _read(folder: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    image = io.read_volume([folder / "imagesTr" / "south_000_0000.nii.gz"])
    label = io.read_label(folder / "labelsTr" / "south_000.nii.gz")
    assert not io.grid_difference(image, label)
    return image.array[0], label.array[0], image.spacing_mm


def test_each_scanner_does_what_it_says(tmp_path: Path, source: Path, shifted: ModuleType) -> None:
    shifted.make_shifted(source, tmp_path / "out")
    before, label, spacing = _read(source / "site_a")
    a, label_a, _ = _read(tmp_path / "out" / "site_a")
    assert np.array_equal(a, before)
    b, label_b, _ = _read(tmp_path / "out" / "site_b")
    correlation = np.corrcoef(before.ravel(), b.ravel())[0, 1]
    assert 0.5 < correlation < 0.99
    c, label_c, _ = _read(tmp_path / "out" / "site_c")
    assert np.corrcoef(before.ravel(), c.ravel())[0, 1] < -0.8
    for same in (label_a, label_b, label_c):
        assert np.array_equal(same, label)
    d, label_d, spacing_d = _read(tmp_path / "out" / "site_d")
    assert spacing_d == pytest.approx((3 * spacing[0], *spacing[1:]))
    np.testing.assert_allclose(d[0], before[:3].mean(axis=0), rtol=1e-4)
    assert np.array_equal(label_d, label[1 : 3 * len(d) : 3])


def test_thick_slices_stay_where_they_were(
    tmp_path: Path, source: Path, shifted: ModuleType
) -> None:
    shifted.make_shifted(source, tmp_path / "out")
    name = Path("imagesTr") / "south_000_0000.nii.gz"
    thin = io.read_volume([source / "site_d" / name]).geometry
    thick = io.read_volume([tmp_path / "out" / "site_d" / name]).geometry
    through = np.reshape(thin.direction, (3, 3))[:, 2]
    shifted = np.subtract(thick.origin_mm, thin.origin_mm)
    np.testing.assert_allclose(shifted, through * thin.spacing_mm[0], atol=1e-4)


def test_a_case_is_the_same_whatever_else_is_there(
    tmp_path: Path, source: Path, shifted: ModuleType
) -> None:
    shifted.make_shifted(source, tmp_path / "all")
    for site in "abcd":
        (source / f"site_{site}" / "imagesTr" / "south_001_0000.nii.gz").unlink()
        (source / f"site_{site}" / "labelsTr" / "south_001.nii.gz").unlink()
    shifted.make_shifted(source, tmp_path / "less")
    for site in "abcd":
        pair = [_read(tmp_path / out / f"site_{site}")[0] for out in ("all", "less")]
        assert np.array_equal(*pair)


def test_a_missing_site_is_named(
    tmp_path: Path, shifted: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shifted.main([str(tmp_path), str(tmp_path / "out")]) == 2
    assert "site_a, site_b, site_c, site_d" in capsys.readouterr().err
