"""Probabilities come back as other programs read them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from fednnunet import io
from fednnunet.volume import Geometry, Volume

GEOMETRY = Geometry(
    spacing_mm=(2.0, 0.5, 1.5),
    origin_mm=(3.0, -4.0, 5.0),
    direction=(0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0),
)


def some_values() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(3, 4, 5, 6)).astype(np.float16)


def test_a_nifti_file_has_the_classes_last(tmp_path: Path) -> None:
    values = some_values()
    path = tmp_path / "a.nii.gz"
    io.write_probabilities_nifti(values, GEOMETRY, path)
    image = nibabel.load(path)
    assert image.shape == (6, 5, 4, 3)
    np.testing.assert_allclose(image.get_fdata().T, values, atol=1e-5)
    io.write_volume(
        Volume(array=values[:1].astype(np.float32), geometry=GEOMETRY), tmp_path / "b.nii"
    )
    np.testing.assert_allclose(image.affine, nibabel.load(tmp_path / "b.nii").affine, atol=1e-5)
    volumes = io.read_4d(path)
    np.testing.assert_allclose(volumes[1].array[0], values[1], atol=1e-5)


def test_an_npz_file_has_nnunets_name(tmp_path: Path) -> None:
    values = some_values()
    io.write_probabilities_npz(values, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as found:
        assert found.files == ["probabilities"]
        assert np.array_equal(found["probabilities"], values)
