"""fednnunet_view from its command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fednnunet import io
from fednnunet.commands.view import main
from fednnunet.volume import Geometry, Volume

GEOMETRY = Geometry(spacing_mm=(2.0, 1.0, 1.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image, two masks of the same name, and one on another grid."""
    image = Volume(array=np.zeros((1, 4, 6, 8), np.float32), geometry=GEOMETRY)
    io.write_volume(image, tmp_path / "a_0000.nii.gz")
    for place in ("ours", "theirs"):
        io.write_mask(np.ones((4, 6, 8), np.uint8), GEOMETRY, tmp_path / place / "a.nii.gz")
    io.write_mask(np.ones((4, 6, 7), np.uint8), GEOMETRY, tmp_path / "other.nii.gz")
    return tmp_path


def test_a_page_is_written_for_several_masks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = [str(folder / place / "a.nii.gz") for place in ("ours", "theirs")]
    page = folder / "page.html"
    assert main([str(folder / "a_0000.nii.gz"), *masks, "-o", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    text = page.read_text(encoding="utf-8")
    assert "1: ours/a.nii.gz" in text and "2: theirs/a.nii.gz" in text
    assert page.stat().st_mode & 0o077 == 0


def test_a_mask_on_another_grid_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = folder / "page.html"
    arguments = [str(folder / "a_0000.nii.gz"), str(folder / "other.nii.gz"), "-o", str(page)]
    assert main(arguments) == 2
    assert "other.nii.gz" in capsys.readouterr().err
    assert not page.exists()
