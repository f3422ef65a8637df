"""Volumes and masks to disk: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fednnunet.errors import DataError
from fednnunet.files import no_room, replacing, storing, sync
from fednnunet.io import nifti
from fednnunet.io.formats import ENDINGS, check_file, ending, is_nifti
from fednnunet.io.grid import orthonormal
from fednnunet.io.text_header import check_text_header
from fednnunet.volume import Geometry, Volume


def write_mask(
    mask: np.ndarray, geometry: Geometry, path: Path, *, like: Path | None = None
) -> None:
    """Write a mask (z, y, x) of whole numbers on the grid of its input image, atomically.

    `like` names the input: NIfTI files with an affine that ITK cannot hold (shear) are written
    with that very affine. Stored as uint8, or uint16 if values pass 255.
    """
    highest = int(mask.max(initial=0))
    array = mask.astype(np.uint8 if highest <= 255 else np.uint16, copy=False)
    sheared = is_nifti(path) and not orthonormal(geometry.direction)
    if sheared and like is not None and is_nifti(like):
        with _replacing(path) as temporary:
            nifti.write_like(array, like, temporary)
        return
    write_volume(Volume(array=array[None], geometry=geometry), path)


def write_volume(volume: Volume, path: Path) -> None:
    """Write the first channel of a volume in the format that the file name's ending says.

    Raises StorageError where there is no room, or the folder cannot be written.
    """
    import SimpleITK

    if ending(path) is None:
        raise DataError(
            f"{path.name} has no known image ending", mend=f"use one of {', '.join(ENDINGS)}"
        )
    geometry = volume.geometry
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.array[0]))
    image.SetSpacing([float(v) for v in geometry.spacing_mm[::-1]])
    image.SetOrigin([float(v) for v in geometry.origin_mm])
    if not orthonormal(geometry.direction) and is_nifti(path):
        with _replacing(path) as temporary:
            nifti.write_sheared(volume, temporary)
        return
    image.SetDirection([float(v) for v in geometry.direction])
    with _replacing(path) as temporary:
        SimpleITK.WriteImage(image, str(temporary), True)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """As `replacing`, and only a file that is whole takes the name: ITK tells of no full disk."""
    manager = _replacing_pair if ending(path) == ".mhd" else replacing
    with manager(path) as temporary:
        yield temporary
        _check_whole(temporary, path)


@contextmanager
def _replacing_pair(path: Path) -> Iterator[Path]:
    """A header and its voxels, in a folder of their own at first: the header holds their name."""
    folder = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    with storing(path, folder):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder / path.name
        for part in sorted(folder.iterdir(), key=lambda p: p.name == path.name):
            sync(part)
            os.replace(part, path.with_name(part.name))
        sync(path.parent)


def _check_whole(written: Path, path: Path) -> None:
    """Raise StorageError for a file that is shorter than its header says."""
    try:
        check_file(written)
        if is_nifti(written):
            nifti.load(written)
        else:
            check_text_header(written)
    except DataError as fault:
        raise no_room(path, f"it was written in part ({fault.what})") from None
