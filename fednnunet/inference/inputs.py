"""What `-i` may name: a folder of images, one image, or a folder with DICOM series."""

from __future__ import annotations

from pathlib import Path

from fednnunet import io
from fednnunet.dataset import Case, list_images
from fednnunet.errors import InputError

_FIRST = "_0000"


def list_inputs(path: Path, channels: int) -> tuple[Case, ...]:
    """The cases of a folder of images, or of one image, with this number of channels.

    If the name of one image ends in _0000, the further channels lie beside it. Raises InputError
    where there is nothing to predict.
    """
    if path.is_file():
        return (_one_image(path, channels),)
    return tuple(list_images(path, channels))


def is_dicom(path: Path) -> bool:
    """Whether a path is a folder without images, but with DICOM files somewhere below it."""
    return path.is_dir() and not _has_images(path) and _has_dicom(path)


def _one_image(path: Path, channels: int) -> Case:
    ending = io.ending(path)
    if ending is None:
        raise InputError(
            f"{path.name} is no image format that can be read",
            where=str(path),
            mend=f"convert it to one of {', '.join(io.ENDINGS)}, or name a folder",
        )
    stem, ending = path.name[: -len(ending)], path.name[-len(ending) :]
    name = stem.removesuffix(_FIRST)
    if channels == 1:
        return Case(name=name, images=(path,), label=None, group=name)
    images = tuple(path.with_name(f"{name}_{channel:04d}{ending}") for channel in range(channels))
    missing = [image.name for image in images if not image.is_file()]
    if name == stem or missing:
        raise InputError(
            f"the plan needs {channels} channels, and {path.name} is one",
            where=str(path),
            mend=f"name the first of {name}_0000{ending}, {name}_0001{ending}, ... in one folder",
        )
    return Case(name=name, images=images, label=None, group=name)


def _has_images(folder: Path) -> bool:
    return any(io.ending(path) for path in folder.iterdir())


def _has_dicom(folder: Path) -> bool:
    """Whether some file below the folder begins as DICOM files do."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as stream:
                if stream.read(132)[128:] == b"DICM":
                    return True
    return False
