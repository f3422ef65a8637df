"""Planes of upright, mirrored and tilted series, and the way of a mask back onto them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="DICOM needs the extra dicom")
pytest.importorskip("highdicom", reason="DICOM needs the extra dicom")

from fednnunet.errors import DataError
from fednnunet.io import formats
from fednnunet.preprocess.dicom_planes import Planes, read_planes
from fednnunet.preprocess.dicom_scan import scan
from tests.preprocess.dicom_files import ORIGIN, SHAPE, SPACING, write_series

TILT = 1.2  # mm along y from slice to slice


def planes_of(folder: Path, voxels: np.ndarray, **how: object) -> Planes:
    """The planes of a series with these voxels."""
    write_series(folder, voxels, **how)  # type: ignore[arg-type]
    (series,), _ = scan(folder)
    return read_planes(series)


def test_an_upright_series_is_its_own_grid(tmp_path: Path) -> None:
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 700.0
    found = planes_of(tmp_path, voxels)
    assert found.offsets_vox is None
    np.testing.assert_array_equal(found.volume.array[0], voxels)
    x, y, z = ORIGIN
    np.testing.assert_allclose(found.origins_mm[2], (x, y, z + 2 * SPACING[0]))
    mask = (voxels > 300).astype(np.uint8)
    np.testing.assert_array_equal(found.on_planes(mask), mask)


@pytest.mark.parametrize("tilt", [TILT, -TILT])
def test_a_tilted_series_lies_where_its_slices_say(tmp_path: Path, tilt: float) -> None:
    """A straight rod along z in the patient is straight on the upright grid."""
    voxels = np.zeros(SHAPE)
    rod_mm = ORIGIN[1] + 8.0
    for z in range(SHAPE[0]):
        y = round((rod_mm - ORIGIN[1] - z * tilt) / SPACING[1])
        voxels[z, y - 1 : y + 2, 10:14] = 500
    found = planes_of(tmp_path, voxels, shear=tilt)
    geometry = found.volume.geometry
    assert geometry.spacing_mm == pytest.approx(SPACING)
    assert geometry.direction == pytest.approx((1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert found.volume.shape_vox[1] == SHAPE[1] + int(np.ceil(5 * TILT / SPACING[1]))
    for layer in found.volume.array[0]:
        weights = layer[:, 12].clip(min=0)
        centre = (np.arange(len(weights)) * weights).sum() / weights.sum()
        assert geometry.origin_mm[1] + centre * SPACING[1] == pytest.approx(rod_mm, abs=0.5)


@pytest.mark.parametrize("tilt", [TILT, -TILT])
def test_a_mask_comes_back_onto_tilted_planes(tmp_path: Path, tilt: float) -> None:
    voxels = np.zeros(SHAPE)
    voxels[1:5, 6:14, 8:16] = 600
    found = planes_of(tmp_path, voxels, shear=tilt)
    mask = (found.volume.array[0] > 300).astype(np.uint8)
    back = found.on_planes(mask)
    assert back.shape == SHAPE
    wrong = (back != (voxels > 0)).sum()
    assert wrong <= 8 * 4 * 2  # at most a row of voxels at both edges of each slice


def test_slices_far_beside_each_other_are_no_volume(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not one volume"):
        planes_of(tmp_path, np.zeros((3, 4, 4)), shear=1e6)


def test_an_upright_grid_that_no_memory_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = int(np.prod(SHAPE)) * 8  # bytes that the check asks for the slices themselves
    monkeypatch.setattr(formats, "memory_bytes", lambda: stored)
    planes_of(tmp_path / "upright", np.zeros(SHAPE))
    with pytest.raises(DataError, match="promises"):
        planes_of(tmp_path / "tilted", np.zeros(SHAPE), shear=TILT)


def test_the_axes_of_a_mirrored_series_point_the_other_way(tmp_path: Path) -> None:
    found = planes_of(tmp_path, np.zeros(SHAPE), axes=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    column, row = found.axes
    np.testing.assert_allclose(column, [-SPACING[2], 0, 0], atol=1e-9)
    np.testing.assert_allclose(row, [0, SPACING[1], 0], atol=1e-9)
