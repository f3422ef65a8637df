"""What `-i` may name: a folder of images, one image, or a folder with DICOM series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fednnunet import io
from fednnunet.dataset import Case, list_images
from fednnunet.errors import FedNNUNetError, InputError, raise_all

_FIRST = "_0000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The cases to predict, and the faults of those that cannot be used."""

    cases: tuple[Case, ...]
    faults: tuple[FedNNUNetError, ...] = ()


def list_inputs(path: Path, channels: Sequence[str], output: Path) -> Inputs:
    """The cases that `path` names, for prediction with these channels.

    One image is a case; if its name ends in _0000, the further channels lie beside it. DICOM series
    are converted into `output`'s `imagesTs`, under names that do not identify the patient; the file
    beside `output` that does is described in `preprocessing/README.md`. Raises InputError where
    there is nothing to predict.
    """
    if path.is_file():
        return Inputs(cases=(_one_image(path, len(channels)),))
    if path.is_dir() and not _has_images(path) and _has_dicom(path):
        return _from_dicom(path, channels, output)
    return Inputs(cases=list_images(path, len(channels)))


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


def _from_dicom(folder: Path, channels: Sequence[str], output: Path) -> Inputs:
    from fednnunet.preprocess.dicom import convert_dicom
    from fednnunet.preprocess.dicom_cases import Channel

    found = convert_dicom(
        folder,
        output,
        mapping_path=output.with_name(f"{output.name}.mapping.json"),
        channels=[Channel(name=name) for name in channels],
        images_only=True,
    )
    if not found.cases:
        raise_all("no DICOM series can be used", found.faults)
    wanted = set(found.cases)
    listed = list_images(output / "imagesTs", len(channels))
    cases = tuple(case for case in listed if case.name in wanted)
    return Inputs(cases=cases, faults=found.faults)
