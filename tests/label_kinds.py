"""A made-up site whose cases have labels of every kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fednnunet import io
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume

TASK = Task(name="t", channels=("MRI",), labels=("background", "a", "b"))
SHAPE = (12, 13, 14)  # z, y, x
GRID = Geometry(spacing_mm=(1.0, 1.0, 1.0))
UNMARKED = 9

BOXES = {
    "unit": "voxel",
    "cases": {
        "box": [
            {"label": "a", "low": [2, 3, 4], "high": [6, 7, 8]},
            {"label": "b", "low": [5, 6, 7], "high": [9, 9, 9]},
        ]
    },
}
ENTRIES: dict[str, dict[str, Any]] = {
    "scribble": {"kind": "scribble", "unmarked": UNMARKED},
    "partial": {"kind": "partial", "annotated": ["a"]},
    "box": {"kind": "box", "boxes": "boxes.json"},
    "image": {"kind": "image", "presence": "presence.csv"},
    "none": {"kind": "none"},
}
PRESENCE = "case,label,present\nimage,a,1\nimage,b,0\n"


def organs(*values: int) -> np.ndarray:
    """A complete label map (z, y, x) with a block of each class."""
    label = np.zeros(SHAPE, np.uint8)
    label[4:8, 3:7, 2:6] = 1
    label[7:9, 6:9, 5:9] = 2
    return np.where(np.isin(label, values), label, 0).astype(np.uint8)


def scribbles() -> np.ndarray:
    """A line of class 1, one of the background, and nothing else marked."""
    label = np.full(SHAPE, UNMARKED, np.uint8)
    label[5, 5, 2:6] = 1
    label[5, 1, 2:6] = 0
    return label


def write_site(folder: Path, *, full: int = 2, **header: Any) -> Path:
    """`full` complete cases and one of each other kind; `header` replaces parts of the file."""
    maps = {"partial": organs(1), "scribble": scribbles()}
    maps |= {f"full_{number}": organs(1, 2) for number in range(full)}
    for number, name in enumerate(sorted({*maps, *ENTRIES})):
        write_image(folder, name, seed=number)
        if name in maps:
            write_map(folder, name, maps[name])
    write_header(folder, **header)
    (folder / "boxes.json").write_text(json.dumps(BOXES))
    (folder / "presence.csv").write_text(PRESENCE)
    return folder


def write_image(folder: Path, name: str, *, seed: int = 0) -> None:
    image = np.random.default_rng(seed).normal(100, 10, (1, *SHAPE)).astype(np.float32)
    io.write_volume(Volume(array=image, geometry=GRID), folder / "imagesTr" / f"{name}_0000.nii.gz")


def write_map(folder: Path, name: str, label: np.ndarray) -> None:
    io.write_mask(label, GRID, folder / "labelsTr" / f"{name}.nii.gz")


def write_header(folder: Path, **changes: Any) -> None:
    header: dict[str, Any] = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "a": 1, "b": 2},
        "supervision": {"cases": ENTRIES},
    }
    (folder / "dataset.json").write_text(json.dumps(header | changes))
