"""Find trained models of nnU-Net v2 in a folder or a zip, and take their files out safely.

A zip from elsewhere may name files above the folder it is unpacked to, or grow to any size. Only
the three kinds of file that are needed are taken out of it, under names of ours, and no longer than
the zip says; a zip with a name that leads elsewhere is refused as a whole.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fednnunet.errors import InputError
from fednnunet.interop.nnunet_export import DATASET, PLANS

_MAX_TEXT, _MAX_CHECKPOINT = 64 << 20, 16 << 30  # bytes
_MAX_RATIO = 100  # of a file to its compressed form: weights shrink by a tenth
_MAX_FILES = 100_000
_DEPTH = 4  # folders below the given one that are searched
_FOLD = re.compile(r"fold_([A-Za-z0-9]+)")
_MEND = "give the folder with plans.json, dataset.json and fold_0, or a zip of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A trained model: its folder inside of what was given, and its folds."""

    folder: PurePosixPath
    """Path below the given folder, or in the zip; `.` for itself."""
    folds: tuple[str, ...]
    """Names of the folds that have the checkpoint: "0", "1", "all"."""

    @property
    def name(self) -> str:
        """The folder's name: nnU-Net writes TRAINER__PLANS__CONFIGURATION."""
        return self.folder.name


def find_models(source: Path, checkpoint: str) -> tuple[Model, ...]:
    """The models in a folder or zip that have plans and a checkpoint of that name, sorted.

    Raises InputError where there is none, and for a zip that cannot be trusted.
    """
    names = _names_in_zip(source) if source.is_file() else _names_in_folder(source)
    folders = sorted({name.parent for name in names if name.name == PLANS})
    models = [
        Model(folder=folder, folds=folds)
        for folder in folders
        if (folds := _folds(folder, names, checkpoint))
    ]
    if models:
        return tuple(models)
    lacking = f"no fold has a {checkpoint}" if folders else f"there is no {PLANS}"
    raise InputError(
        f"{source.name} holds no trained model of nnU-Net v2: {lacking}",
        where=str(source),
        mend=_MEND,
    )


def take_out(source: Path, model: Model, fold: str, checkpoint: str, folder: Path) -> Path:
    """The path of a folder with plans.json, dataset.json and the checkpoint of one fold.

    Files of a zip are unpacked to the empty `folder`; a folder is used where it is.
    """
    if not source.is_file():
        return source / model.folder
    target = folder / model.folder.name
    wanted = (
        (PurePosixPath(PLANS), _MAX_TEXT),
        (PurePosixPath(DATASET), _MAX_TEXT),
        (PurePosixPath(f"fold_{fold}") / checkpoint, _MAX_CHECKPOINT),
    )
    with zipfile.ZipFile(source) as archive:
        for name, most in wanted:
            _unpack(archive, str(model.folder / name), target / name, most, source)
    return target


def _folds(folder: PurePosixPath, names: Iterable[PurePosixPath], file: str) -> tuple[str, ...]:
    found = [
        match[1]
        for name in names
        if name.name == file
        and name.parent.parent == folder
        and (match := _FOLD.fullmatch(name.parent.name))
    ]
    return tuple(sorted(found, key=lambda fold: (len(fold), fold)))


def _names_in_folder(source: Path) -> list[PurePosixPath]:
    if not source.is_dir():
        raise InputError(f"there is no folder {source.name}", where=str(source), mend=_MEND)
    patterns = ("/".join(["*"] * depth) for depth in range(1, _DEPTH + 3))
    found = (path for pattern in patterns for path in source.glob(pattern))
    return [PurePosixPath(path.relative_to(source).as_posix()) for path in found]


def _names_in_zip(source: Path) -> list[PurePosixPath]:
    try:
        with zipfile.ZipFile(source) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise InputError(
            f"{source.name} is cut off, or no zip: {error}",
            where=str(source),
            mend="copy or download the zip again",
        ) from None
    if len(parts) > _MAX_FILES:
        raise _distrusted(source, f"it has {len(parts):,} files")
    for part in parts:
        path = PurePosixPath(part.filename)
        if path.is_absolute() or ".." in path.parts or re.search(r"[\\:\0]", part.filename):
            raise _distrusted(
                source, f"it names a file {part.filename[:80]!r}, which leads elsewhere"
            )
        if stat.S_ISLNK(part.external_attr >> 16):
            raise _distrusted(source, f"it has a link, {part.filename[:80]!r}")
    return [PurePosixPath(part.filename) for part in parts if not part.is_dir()]


def _unpack(archive: zipfile.ZipFile, name: str, target: Path, most: int, source: Path) -> None:
    """One file of the zip, if it is there and of a likely size; the checksum is compared."""
    try:
        part = archive.getinfo(name)
    except KeyError:
        raise InputError(f"{source.name} has no {name}", where=str(source), mend=_MEND) from None
    small = part.file_size <= 1 << 20
    if part.file_size > most or (
        not small and part.file_size > _MAX_RATIO * max(part.compress_size, 1)
    ):
        raise _distrusted(source, f"{name} would unpack to {part.file_size:,} bytes")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(part) as stream, target.open("xb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"{name} in {source.name} is damaged: {error}",
            where=str(source),
            mend="copy or download the zip again",
        ) from None


def _distrusted(source: Path, why: str) -> InputError:
    return InputError(
        f"{source.name} was not unpacked: {why}",
        where=str(source),
        mend="ask where the zip is from; nnU-Net writes none like it",
    )
