"""Small cases on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fednnunet import io
from fednnunet.dataset import Case
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ"))
SHAPE = (6, 8, 10)


def a_case(
    folder: Path,
    name: str = "one",
    *,
    image: np.ndarray | None = None,
    label: np.ndarray | None = None,
    geometry: Geometry | None = None,
    label_geometry: Geometry | None = None,
) -> Case:
    """Write a case of one channel; by default noise with a box of label 1."""
    geometry = geometry or Geometry(spacing_mm=(2.0, 1.0, 1.0))
    if image is None:
        image = np.random.default_rng(0).normal(100, 10, SHAPE)
    if label is None:
        label = np.zeros(SHAPE, np.uint8)
        label[1:4, 2:6, 3:8] = 1
    paths = folder / f"{name}_0000.nii.gz", folder / f"{name}.nii.gz"
    volume = Volume(array=image.astype(np.float32)[None], geometry=geometry)
    io.write_volume(volume, paths[0])
    io.write_mask(label, label_geometry or geometry, paths[1])
    return Case(name=name, images=(paths[0],), label=paths[1], group=name)
