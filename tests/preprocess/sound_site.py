"""A site whose folder has no fault, for tests that spoil it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fednnunet import io
from fednnunet.volume import Geometry, Volume

GRID = Geometry(spacing_mm=(1.0, 1.0, 1.0))


def make_sound_site(site: Path) -> None:
    """Write a site of six sound cases into the folder `site`."""
    for number in range(6):
        rng = np.random.default_rng(number)
        image = rng.normal(100, 10, (1, 12, 13, 14)).astype(np.float32)
        label = np.zeros((12, 13, 14), np.uint8)
        label[4:8, 4:8, 4:8] = 1
        io.write_volume(Volume(array=image, geometry=GRID), image_path(site, number))
        io.write_mask(label, GRID, label_path(site, number))
    header = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "organ": 1}}
    (site / "dataset.json").write_text(json.dumps(header))


def image_path(site: Path, number: int) -> Path:
    return site / "imagesTr" / f"case_{number}_0000.nii.gz"


def label_path(site: Path, number: int) -> Path:
    return site / "labelsTr" / f"case_{number}.nii.gz"
