"""Write a corrected copy of a site's folder; only unambiguous faults are corrected."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fednnunet import io
from fednnunet.case_labels import CaseLabels
from fednnunet.dataset_header import read_header
from fednnunet.errors import DataError, FedNNUNetError, InputError, StorageError
from fednnunet.files import storing
from fednnunet.preprocess.case_label_map import unmarked_value
from fednnunet.preprocess.check_case import digest
from fednnunet.site_labels import read_site_labels
from fednnunet.supervision import Supervision
from fednnunet.task import Task
from fednnunet.volume import Volume

_NUMBERED = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")
_EXPORT = "export the image again from its source"
_RESAMPLE = "resample the label map onto the image's grid, by nearest neighbour"
_BESIDE = (".json", ".csv")  # dataset.json, and the tables of labels that it names
_ROUNDING = 0.01  # of a label value: the error of scaling to integers and back


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """One case of the copy: the corrections, or the reason why it was left out."""

    case: str
    mended: tuple[str, ...] = ()
    left_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A case as it is in the folder."""

    name: str
    files: list[Path]
    map: Path | None
    labels: CaseLabels


@dataclass(slots=True)
class _Copy:
    """A case that is being copied: the volumes to write, and the corrections so far."""

    channels: list[tuple[Path, Volume]] = field(default_factory=list)
    changed: bool = False
    mended: list[str] = field(default_factory=list)


def fix_site(folder: Path, out: Path, task: Task) -> tuple[Fixed, ...]:
    """Write a corrected copy of the site in `folder` to the new folder `out`.

    Corrected are: missing or shifted channel numbers, channels in one 4D file, NaN and infinity
    (replaced by the lowest value), label maps of which only the header differs, and label values
    with rounding errors. Duplicates and cases that cannot be corrected are left out and listed; a
    person takes out what `dataset.json` and the files beside it say of their labels. Originals are
    not changed. Raises InputError if `out` exists.
    """
    if out.exists() or folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise InputError(
            f"{out} is not a new folder outside {folder}",
            where=str(out),
            mend="name a folder that does not exist yet, outside the site's folder",
        )
    maps = {_stem(path): path for path in _images(folder / "labelsTr")}
    cases = _cases(folder / "imagesTr")
    header = read_header(folder, task)
    kinds, _ = read_site_labels(
        header.fields,
        folder,
        task,
        site="",
        agreed=Supervision(),
        training=cases,
        test=(),
        values=header.values,
    )
    seen: dict[str, str] = {}
    fixed = []
    for name, files in sorted(cases.items()):
        try:
            source = _Source(name=name, files=files, map=maps.get(name), labels=kinds[name])
            mended = _fix_case(source, out, task, seen)
            fixed.append(Fixed(case=name, mended=mended))
        except StorageError:  # no other case would fare better
            raise
        except FedNNUNetError as fault:
            fixed.append(Fixed(case=name, left_out=fault.what))
    out.mkdir(parents=True, exist_ok=True)
    for path in (path for path in folder.iterdir() if path.suffix in _BESIDE and path.is_file()):
        shutil.copy2(path, out / path.name)
    return tuple(fixed)


def _fix_case(source: _Source, out: Path, task: Task, seen: dict[str, str]) -> tuple[str, ...]:
    """Correct one case and write it; raises DataError if that is impossible, before writing."""
    name, label = source.name, source.map
    if source.labels.needs_map != (label is not None):
        kind = source.labels.supervision.kind
        what = "it has no label map" if label is None else "it has a label map"
        raise DataError(
            f"{what}, against its kind of labels, {kind!r}",
            mend="add the map to labelsTr or remove it, or correct the kind in dataset.json",
        )
    copy = _channels(source.files, len(task.channels))
    _remove_nan(copy)
    digests = [digest(volume.array[0]) for _, volume in copy.channels]
    for found in digests:
        if found in seen:
            raise DataError(
                f"it has the same voxels as {seen[found]}", mend="keep one of the two cases"
            )
    mask = None if label is None else _fix_label(label, copy, task, source.labels)
    seen |= dict.fromkeys(digests, name)
    for index, (path, volume) in enumerate(copy.channels):
        target = out / "imagesTr" / f"{name}_{index:04d}{io.ending(path)}"
        if copy.changed or io.ending(path) == ".mhd":
            io.write_volume(volume, target)
        else:
            with storing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
    first, volume = copy.channels[0]
    if label is not None and mask is not None:
        io.write_mask(mask, volume.geometry, out / "labelsTr" / label.name, like=first)
    return tuple(copy.mended)


def _channels(files: list[Path], count: int) -> _Copy:
    """The channels of a case in order, split from one 4D file or renumbered if necessary."""
    copy = _Copy()
    if len(files) == 1 and len(volumes := io.read_4d(files[0])) > 1:
        if len(volumes) != count:
            raise DataError(
                f"{files[0].name} holds {len(volumes)} volumes, not {count} channels",
                mend="write each channel of the task into a file of its own",
            )
        copy.channels = [(files[0], volume) for volume in volumes]
        copy.changed = True
        copy.mended.append(f"{files[0].name} split into {count} channel files")
        return copy
    if len(files) != count:
        raise DataError(
            f"it has {len(files)} channel files, the task needs {count}",
            mend="add the missing channel files, or remove the superfluous ones",
        )
    io.read_volume(files)  # all on one grid, or raises
    copy.channels = [(path, io.read_volume([path])) for path in files]
    numbers = [_number(path) for path in files]
    if numbers != list(range(count)):
        copy.mended.append(f"channel numbers of {', '.join(path.name for path in files)}")
    return copy


def _remove_nan(copy: _Copy) -> None:
    for path, volume in copy.channels:
        finite = np.isfinite(volume.array)
        count = finite.size - int(finite.sum())
        if count == finite.size:
            raise DataError(f"{path.name} has no finite voxel", mend=_EXPORT)
        if count:
            volume.array[~finite] = volume.array[finite].min()
            copy.changed = True
            copy.mended.append(f"{count:,} NaN or infinite voxels of {path.name}")


def _fix_label(path: Path, copy: _Copy, task: Task, labels: CaseLabels) -> np.ndarray:
    """The label map (z, y, x) on its image's grid."""
    raw, image = io.read_raw(path), copy.channels[0][1]
    array = raw.array[0].astype(np.float64)
    whole = np.rint(array)
    if not np.isfinite(array).all() or np.abs(array - whole).max(initial=0) > _ROUNDING:
        raise DataError(
            f"{path.name} has label values that are not whole numbers",
            mend="export the label map without interpolation",
        )
    if (array != whole).any():
        copy.mended.append(f"label values of {path.name} rounded to whole numbers")
    known = {*task.values, unmarked_value(labels, task)}
    unknown = sorted({int(value) for value in np.unique(whole)} - known)
    if unknown:
        raise DataError(
            f"{path.name} has the label values {unknown}, not in the task",
            mend="correct the label map, or add the labels to the task",
        )
    if raw.shape_vox != image.shape_vox:
        raise DataError(f"{path.name} has another shape than its image", mend=_RESAMPLE)
    if difference := io.grid_difference(image, raw):
        if not (_lost_header(raw) or _shifted_a_little(raw, image)):
            raise DataError(
                f"{path.name} has another grid than its image: {difference}", mend=_RESAMPLE
            )
        copy.mended.append(f"header of {path.name}: {difference}")
    return whole.astype(np.int16)


def _lost_header(volume: Volume) -> bool:
    """Whether a geometry is a default: spacing 1, origin 0, axes along those of the scanner."""
    geometry = volume.geometry
    plain = np.allclose(np.abs(geometry.direction), np.eye(3).ravel(), atol=1e-6)
    return (
        plain
        and np.allclose(geometry.spacing_mm, 1, atol=1e-6)
        and np.allclose(geometry.origin_mm, 0, atol=1e-6)
    )


def _shifted_a_little(volume: Volume, image: Volume) -> bool:
    """Whether all corners of two grids agree within half a voxel."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in image.shape_vox[::-1]])).reshape(3, -1)
    places = [_to_mm(v, corners) for v in (volume, image)]
    return bool(np.abs(places[0] - places[1]).max() <= 0.5 * min(image.spacing_mm))


def _to_mm(volume: Volume, index: np.ndarray) -> np.ndarray:
    """Physical positions (3, n) in mm of voxel indices (3, n), both in the order x, y, z."""
    geometry = volume.geometry
    scaled = index * np.array(geometry.spacing_mm[::-1])[:, None]
    return np.reshape(geometry.direction, (3, 3)) @ scaled + np.array(geometry.origin_mm)[:, None]


def _cases(folder: Path) -> dict[str, list[Path]]:
    """Image files by case, in the order of their numbers; a file without a number is a case."""
    cases: dict[str, list[Path]] = {}
    for path in _images(folder):
        match = _NUMBERED.match(_stem(path))
        cases.setdefault(match["case"] if match else _stem(path), []).append(path)
    return cases


def _number(path: Path) -> int:
    match = _NUMBERED.match(_stem(path))
    return int(match["channel"]) if match else -1


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if io.ending(path) and path.name[0] != ".")


def _stem(path: Path) -> str:
    return path.name[: -len(io.ending(path) or "")]
