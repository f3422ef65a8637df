"""One HTML page that shows an image with masks over it, in slices and in 3D, without a network.

The page holds niivue (BSD 2-Clause, see the folder niivue) and the volumes themselves. It shows a
patient, so it stays where the image is.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from fednnunet import io
from fednnunet.errors import DataError
from fednnunet.evaluation.page import write_page
from fednnunet.evaluation.pictures import STRUCTURES
from fednnunet.text import printable
from fednnunet.volume import Volume

_LIBRARY = "niivue.umd.js"
_OPACITY = 0.5


def write_viewer(
    path: Path,
    image: Volume,
    masks: Mapping[str, Volume],
    *,
    labels: Sequence[str] = (),
    title: str = "",
) -> None:
    """Write the page to `path`, atomically: the first channel of an image, and masks by name.

    `labels` names the values 0, 1, ... of the masks. Raises DataError for a mask that is not on the
    image's grid.
    """
    for name, mask in masks.items():
        if difference := io.grid_difference(image, mask):
            raise DataError(
                f"{difference} of the mask {name} differs from the image's",
                where=name,
                mend="give a mask that was made for this image",
            )
    volumes: list[dict[str, Any]] = [
        {"name": "image", "data": _nifti(_compact(image)), "labels": None}
    ]
    for number, (name, mask) in enumerate(masks.items()):
        highest = int(mask.array.max(initial=0))
        table = _colours(highest, labels, first=number if len(masks) > 1 else 0)
        volumes.append({"name": printable(name), "data": _nifti(mask), "labels": table})
    library = resources.files("fednnunet.evaluation") / "niivue" / _LIBRARY
    write_page(
        path,
        "viewer.html.j2",
        title=title or "image and masks",
        masks=list(masks),
        opacity=_OPACITY,
        keys=_keys(masks, labels),
        volumes=Markup(json.dumps(volumes).replace("<", "\\u003c")),
        library=Markup(library.read_text(encoding="utf-8")),
    )


def _colours(highest: int, labels: Sequence[str], *, first: int) -> dict[str, Any]:
    """Niivue's table of label colours: red, green, blue and opacity of each value."""
    values = range(highest + 1)
    colours = [_rgb(_colour(value, first)) for value in values]
    return {
        "R": [colour[0] for colour in colours],
        "G": [colour[1] for colour in colours],
        "B": [colour[2] for colour in colours],
        "A": [0 if not value else 255 for value in values],
        "I": list(values),
        "labels": [printable(_name(value, labels)) for value in values],
    }


def _keys(masks: Mapping[str, Volume], labels: Sequence[str]) -> list[tuple[str, str]]:
    """The colour of each value for the legend; with several masks, of each mask's first value."""
    if len(masks) > 1:
        return [(name, _colour(1, number)) for number, name in enumerate(masks)]
    values = sorted({int(v) for mask in masks.values() for v in np.unique(mask.array) if v})
    return [(_name(value, labels), _colour(value, 0)) for value in values]


def _colour(value: int, first: int) -> str:
    return STRUCTURES[(value - 1 + first) % len(STRUCTURES)]


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def _name(value: int, labels: Sequence[str]) -> str:
    return labels[value] if value < len(labels) else f"label {value}"


def _compact(image: Volume) -> Volume:
    """The first channel, as int16 if that keeps every value."""
    array = image.array[:1]
    if array.size and np.abs(array).max() < 2**15 and np.array_equal(array, np.rint(array)):
        array = array.astype(np.int16)
    return Volume(array=array, geometry=image.geometry)


def _nifti(volume: Volume) -> str:
    """The volume as the base64 text of a compressed NIfTI file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        io.write_volume(volume, path)
        return base64.b64encode(path.read_bytes()).decode("ascii")
