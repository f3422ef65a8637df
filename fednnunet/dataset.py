"""A site's folder in nnU-Net's raw layout: `imagesTr`, `labelsTr`, `dataset.json`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fednnunet.case_labels import CaseLabels
from fednnunet.dataset_header import read_header
from fednnunet.errors import DataError, FedNNUNetError, InputError, raise_all
from fednnunet.io import ENDINGS, ending, name_fault
from fednnunet.site_labels import read_site_labels
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.task import Task

_CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One patient's volume: image files in channel order, a label map, and the patient.

    Cases of one `group` (a patient with several cases) stay together in every split. `labels` says
    what is known of the case; not every kind has a label map.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None
    group: str
    labels: CaseLabels = field(default_factory=CaseLabels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The cases of one site, sorted by name; `test_labels` are of the cases of `imagesTs`."""

    folder: Path
    channels: tuple[str, ...]
    cases: tuple[Case, ...]
    test_labels: dict[str, CaseLabels] = field(default_factory=dict)


def read_dataset(
    folder: Path,
    task: Task,
    *,
    site: str = "",
    require_labels: bool = True,
    agreed: Supervision | None = None,
    label_names: Mapping[str, str] | None = None,
) -> Dataset:
    """List a site's cases and check them against the task; reads no image.

    `agreed` is what the federation file says of the site's labels (default: all are full), for what
    `dataset.json` does not say; `label_names` which of the site's labels is which of the task's.
    Raises DataError, or ManyFaults with all faults of the layout: a missing folder, an image
    without the label map that its kind of labels needs or the reverse, wrong channel numbers,
    channels or labels that differ from the task's.
    """
    dataset, faults = scan_dataset(
        folder,
        task,
        site=site,
        require_labels=require_labels,
        agreed=agreed,
        label_names=label_names,
    )
    raise_all(f"the folder of site {site or folder.name} cannot be used", faults)
    return dataset


def scan_dataset(
    folder: Path,
    task: Task,
    *,
    site: str = "",
    require_labels: bool = True,
    agreed: Supervision | None = None,
    label_names: Mapping[str, str] | None = None,
) -> tuple[Dataset, tuple[FedNNUNetError, ...]]:
    """The complete cases, and all faults of the folder's layout, without raising them."""
    faults: list[FedNNUNetError] = []
    images = folder / "imagesTr"
    if not images.is_dir():
        mend = "give a folder in nnU-Net raw layout: imagesTr, labelsTr, dataset.json"
        faults.append(_fault(site, f"the folder {images} is missing", images, mend))
        return Dataset(folder=folder, channels=task.channels, cases=()), tuple(faults)
    header = read_header(folder, task, site, label_names)
    faults += header.faults
    groups = _groups(header.fields, folder, site, faults)
    maps = _labels(folder / "labelsTr", site, faults)
    found = _by_case(images, len(task.channels), site, faults)
    test = _case_names(folder / "imagesTs")
    known, label_faults = read_site_labels(
        header.fields,
        folder,
        task,
        site=site,
        agreed=agreed or Supervision(),
        values=header.values,
        training=found,
        test=test,
    )
    faults += label_faults
    cases = []
    for name, files in found.items():
        labels, label = known[name], maps.pop(name, None)
        fault = _map_fault(name, label, labels, folder, site) if require_labels else None
        faults += [fault] if fault else []
        if len(files) == len(task.channels) and not (fault and label):
            group = str(groups.get(name, name))
            cases.append(Case(name=name, images=files, label=label, group=group, labels=labels))
    faults += [
        _fault(
            site,
            f"label map {path.name} has no image",
            path,
            "add the image to imagesTr, or remove the label map",
        )
        for _, path in sorted(maps.items())
    ]
    if not found and not faults:
        mend = "add the images as case_0000.nii.gz, ..."
        faults.append(_fault(site, "the site has no images", images, mend))
    test_labels = {name: known[name] for name in sorted(test)}
    dataset = Dataset(
        folder=folder, channels=task.channels, cases=tuple(cases), test_labels=test_labels
    )
    return dataset, tuple(faults)


def supervision_of(cases: Iterable[Case], default: Supervision | None = None) -> SiteSupervision:
    """The supervision of cases by their names; those with the `default` (full) are not listed."""
    usual = default or Supervision()
    kinds = {case.name: case.labels.supervision for case in cases}
    return SiteSupervision(
        default=usual, cases={name: kind for name, kind in kinds.items() if kind != usual}
    )


def list_images(folder: Path, channels: int) -> tuple[Case, ...]:
    """The cases of a flat folder (`case_0000.nii.gz`, ...), for prediction; labels are `None`."""
    if not folder.is_dir():
        raise InputError(
            f"the folder {folder} is missing",
            where=str(folder),
            mend="correct the path of the folder",
        )
    faults: list[FedNNUNetError] = []
    found = _by_case(folder, channels, "", faults)
    if not found and not faults:
        mend = "name the images case_0000.nii.gz, ..."
        faults.append(_fault("", f"no images in {folder}", folder, mend))
    raise_all(f"the folder {folder} cannot be used", faults)
    return tuple(
        Case(name=name, images=files, label=None, group=name) for name, files in found.items()
    )


def split_cases(
    cases: Iterable[Case], *, fraction: float, seed: int
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Split into (training, held out), keeping groups together.

    The split depends only on the names of the groups and `seed`, not on the order of `cases`. About
    `fraction` of the groups that can be scored are held out: at least one if there are two or more,
    else none. The others, with a case that cannot be scored, are for training.
    """
    cases = tuple(sorted(cases, key=lambda case: case.name))
    groups = _shuffled(_scored_groups(cases), seed)
    splits = fraction > 0 and len(groups) > 1
    count = min(max(round(fraction * len(groups)), 1), len(groups) - 1) if splits else 0
    return _parted(cases, groups[:count])


def folds(
    cases: Iterable[Case], *, count: int = 5, seed: int = 12345
) -> tuple[tuple[tuple[Case, ...], tuple[Case, ...]], ...]:
    """Cross-validation folds as (training, validation) pairs, keeping groups together.

    Groups with a case that cannot be scored are always in training.
    """
    cases = tuple(sorted(cases, key=lambda case: case.name))
    groups = _shuffled(_scored_groups(cases), seed)
    if len(groups) < count:
        raise InputError(
            f"{len(groups)} patients cannot be split into {count} folds",
            mend=f"ask for at most {len(groups)} folds",
        )
    return tuple(_parted(cases, groups[fold::count]) for fold in range(count))


def _scored_groups(cases: Sequence[Case]) -> set[str]:
    """The groups of which every case's labels can be scored against."""
    others = {case.group for case in cases if not case.labels.can_score}
    return {case.group for case in cases} - others


def _parted(
    cases: Sequence[Case], held: Collection[str]
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Cases of other groups, and those of the groups `held`."""
    return (
        tuple(case for case in cases if case.group not in held),
        tuple(case for case in cases if case.group in held),
    )


def _shuffled(names: Iterable[str], seed: int) -> list[str]:
    """Names in a random order by `seed`; the order of two names does not depend on the others."""

    def key(name: str) -> bytes:
        return hashlib.sha256(f"{seed}/{name}".encode()).digest()

    return sorted(names, key=key)


def _by_case(
    folder: Path, channels: int, site: str, faults: list[FedNNUNetError]
) -> dict[str, tuple[Path, ...]]:
    """Image files of a folder, sorted by case and then by channel."""
    found: dict[str, dict[int, Path]] = {}
    for path in _images_in(folder, site, faults):
        match = _CHANNEL.match(_stem(path))
        if match is None:
            mend = "add the channel's number to the name: case_0000.nii.gz"
            faults.append(_fault(site, f"{path.name} has no channel number", path, mend))
            continue
        numbers = found.setdefault(match["case"], {})
        number = int(match["channel"])
        if number in numbers:
            what = f"{path.name} and {numbers[number].name} are the same channel of one case"
            faults.append(_fault(site, what, path, "keep one of the two files"))
        numbers[number] = path
    for name, numbers in found.items():
        if sorted(numbers) != list(range(channels)):
            has = ", ".join(f"{n:04d}" for n in sorted(numbers))
            needs = ", ".join(f"{n:04d}" for n in range(channels))
            what = f"case {name} has the channels {has}, the task needs {needs}"
            faults.append(_fault(site, what, folder, "add or renumber the channel files"))
    return {name: tuple(n[k] for k in sorted(n)) for name, n in sorted(found.items())}


def _map_fault(
    name: str, label: Path | None, labels: CaseLabels, folder: Path, site: str
) -> DataError | None:
    """What is wrong with the label map of a case being there, or not."""
    if labels.needs_map == (label is not None):
        return None
    if label is None:
        path = folder / "labelsTr" / f"{name}{ENDINGS[0]}"
        mend = 'add it to labelsTr, remove the image, or call it "none" by its kind of labels'
        return _fault(site, f"case {name} has no label map", path, mend)
    kind = labels.supervision.kind
    mend = (
        'correct the kind of its labels in dataset.json ("map": true for a map filled with '
        "boxes), or remove the map"
    )
    what = f"case {name} has a label map, but labels of the kind {kind!r} have none here"
    return _fault(site, what, label, mend)


def _case_names(folder: Path) -> frozenset[str]:
    """The names of the cases in a folder of images, whatever else is wrong with them."""
    paths = folder.iterdir() if folder.is_dir() else ()
    matches = (_CHANNEL.match(_stem(path)) for path in paths if ending(path))
    return frozenset(match["case"] for match in matches if match)


def _labels(folder: Path, site: str, faults: list[FedNNUNetError]) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for path in _images_in(folder, site, faults):
        name = _stem(path)
        if name in found:
            what = f"{path.name} and {found[name].name} are both label maps of case {name}"
            faults.append(_fault(site, what, path, "keep one of the two files"))
        found[name] = path
    return found


def _images_in(folder: Path, site: str, faults: list[FedNNUNetError]) -> list[Path]:
    """Image files sorted by name; those whose names no image library takes are faults."""
    found: list[Path] = []
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        what = f"the folder {folder.name} cannot be read: {error.strerror}"
        faults.append(_fault(site, what, folder, "give yourself the right to read it"))
        return found
    for path in sorted(path for path in paths if ending(path) is not None):
        if fault := name_fault(path):
            faults.append(_fault(site, fault.what, Path(fault.where), fault.mend))
        else:
            found.append(path)
    return found


def _stem(path: Path) -> str:
    return path.name[: -len(ending(path) or "")]


def _groups(
    header: dict[str, Any], folder: Path, site: str, faults: list[FedNNUNetError]
) -> dict[str, Any]:
    groups = header.get("groups", {})
    if isinstance(groups, dict):
        return groups
    mend = 'write "groups": {"case": "patient"}'
    path = folder / "dataset.json"
    faults.append(_fault(site, "groups in dataset.json must be a table", path, mend))
    return {}


def _fault(site: str, what: str, path: Path, mend: str) -> DataError:
    return DataError(what, where=f"site {site}, {path}" if site else str(path), mend=mend)
