"""Convert DICOM series and segmentations into nnU-Net's raw layout, without patients' names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from fednnunet import io, records
from fednnunet.dataset_header import task_of
from fednnunet.errors import (
    DataError,
    FedNNUNetError,
    InputError,
    ManyFaults,
    StorageError,
    raise_all,
)
from fednnunet.files import private_files
from fednnunet.preprocess.dicom_cases import Channel, DicomCase, images_alone, pair
from fednnunet.preprocess.dicom_label import masks_of, names_in
from fednnunet.preprocess.dicom_scan import IMAGES, Series, in_order, reading, require_dicom, scan
from fednnunet.progress import Progress
from fednnunet.volume import Geometry, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The source of a converted case. It identifies the patient and stays at the site."""

    patient: str
    study: str
    series: tuple[str, ...]
    references: tuple[str, ...]
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """The file with which the site can identify the patient of a case."""

    cases: dict[str, Origin]


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The converted cases, notes on what was skipped and why, and the series that were refused."""

    cases: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    faults: tuple[FedNNUNetError, ...]


def convert_dicom(
    folder: Path,
    out: Path,
    *,
    mapping_path: Path,
    channels: Sequence[Channel],
    labels: Sequence[str] = (),
    prefix: str = "case",
    images_only: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Convert every image series with a segmentation under `folder` into the raw layout in `out`.

    `labels` names the structures in the order of their values, from 1 on; later ones overwrite
    earlier ones. By default all structures are taken, sorted by name. With `images_only` every
    image series is converted, into `imagesTs` and without label maps. Case names do not identify
    patients; the file `mapping_path` does. It must be outside `out`, and only its owner can read
    it. If the conversion is repeated, known cases keep their names. A series that is not one whole
    volume is a fault in the result; the other series are converted. Raises InputError where there
    is nothing to convert, or where no structure has the name of a label.
    """
    require_dicom()
    _check_mapping(mapping_path, out)
    series, damaged = scan(folder)
    found = images_alone(series, channels) if images_only else pair(series, channels)
    if not (found.cases or found.faults or damaged):
        raise _nothing(folder, series, images_only)
    notes, faults = list(found.notes), [*damaged, *found.faults]
    known = records.read(Mapping, mapping_path).cases if mapping_path.is_file() else {}
    names = () if images_only else _all_names(found.cases)
    if names:  # without any, the references are faults themselves
        _check_names(labels, names, out)
    wanted = tuple(labels) or names
    origins = _name_cases(found.cases, known, prefix)
    converted = []
    for done, (name, case) in enumerate(origins, start=1):
        try:
            images = _read_images(case)
            if images_only:
                _write_images(images, out / "imagesTs", name)
            else:
                notes += [f"{name}: {note}" for note in _convert(case, images, name, out, wanted)]
            known[name] = _origin(case, known)
            converted.append(name)
            _write_mapping(mapping_path, Mapping(cases=known))
        except StorageError:  # no other case would fare better
            raise
        except ManyFaults as many:
            faults += many.faults
        except FedNNUNetError as fault:
            faults.append(fault)
        if progress:
            progress(done, len(origins), "convert")
    if known and not images_only:
        _write_header(out, channels, wanted, known)
    return Converted(
        cases=tuple(converted), labels=wanted, notes=tuple(notes), faults=tuple(faults)
    )


def _check_mapping(path: Path, out: Path) -> None:
    if out.resolve() in path.resolve().parents:
        raise InputError(
            "the mapping file would lie in the folder that may be shared",
            where=str(path),
            mend=f"choose a mapping file outside {out}",
        )


def read_series(series: Series) -> Volume:
    """One image series as float32 (1, z, y, x), from single slices or one multi-frame file."""
    voxels = sum(s.pixels * s.frames for s in series.slices)
    io.check_promise(series.slices[0].path, voxels=voxels, itemsize=4)
    with reading(f"a {series.modality} series", series.where):
        if len(series.slices) == 1 and series.slices[0].frames > 1:
            return _read_multiframe(series)
        return _read_slices(series)


def _read_slices(series: Series) -> Volume:
    if any(s.frames > 1 for s in series.slices):
        raise DataError(
            f"a {series.modality} series is spread over several multi-frame files",
            where=series.where,
            mend="split the series into one series per volume",
        )
    return io.read_dicom_slices(in_order(series))


def _read_multiframe(series: Series) -> Volume:
    import highdicom

    try:
        volume = highdicom.imread(series.slices[0].path).get_volume(dtype=np.float32)
    except (RuntimeError, ValueError, AttributeError, KeyError) as error:
        raise DataError(
            f"a multi-frame {series.modality} series is not one whole volume: {error}",
            where=series.where,
            mend="split it into one series per volume, or export all of its slices",
        ) from None
    matrix = volume.affine  # of indices (z, y, x)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    geometry = Geometry(
        spacing_mm=tuple(float(v) for v in spacing),  # type: ignore[arg-type]
        origin_mm=tuple(float(v) for v in matrix[:3, 3]),  # type: ignore[arg-type]
        direction=tuple(float(v) for v in (matrix[:3, :3] / spacing)[:, ::-1].ravel()),
    )
    geometry = io.check_grid(geometry, series.slices[0].path)
    return Volume(array=np.ascontiguousarray(volume.array)[None], geometry=geometry)


def _read_images(case: DicomCase) -> list[Volume]:
    """The channels of a case; raises DataError unless they are on one grid."""
    images = [read_series(series) for series in case.channels]
    for series, image in zip(case.channels[1:], images[1:], strict=True):
        if difference := io.grid_difference(images[0], image):
            raise DataError(
                f"the channels of a study are not on one grid: {difference}",
                where=series.where,
                mend="register and resample them onto one grid first",
            )
    return images


def _write_images(images: Sequence[Volume], folder: Path, name: str) -> None:
    for index, image in enumerate(images):
        io.write_volume(image, folder / f"{name}_{index:04d}.nii.gz")


def _convert(
    case: DicomCase, images: Sequence[Volume], name: str, out: Path, labels: Sequence[str]
) -> list[str]:
    """Write one case; returns notes for the user."""
    masks: dict[str, np.ndarray] = {}
    for reference in case.references:
        with reading(f"a {reference.modality}", reference.where):
            found = masks_of(reference, images[0])
        for structure, mask in found.items():
            if structure.lower() in masks and structure.lower() in _lower(labels):
                raise DataError(
                    f"two references segment {structure!r} on one image",
                    where=reference.where,
                    mend="remove the segmentation that is not to be used",
                )
            masks[structure.lower()] = mask
    label, notes = _merge(masks, labels, images[0].shape_vox)
    _write_images(images, out / "imagesTr", name)
    io.write_mask(label, images[0].geometry, out / "labelsTr" / f"{name}.nii.gz")
    return notes


def _merge(
    masks: dict[str, np.ndarray], labels: Sequence[str], shape: tuple[int, int, int]
) -> tuple[np.ndarray, list[str]]:
    """One label map (z, y, x) from masks by name; later labels overwrite earlier ones."""
    label = np.zeros(shape, np.uint16)
    notes = []
    for value, name in enumerate(labels, start=1):
        mask = masks.get(name.lower())
        if mask is None:
            notes.append(f"{name} was not segmented")
            continue
        if overlap := int((label[mask] > 0).sum()):
            notes.append(f"{name} overwrites {overlap:,} voxels of labels before it")
        label[mask] = value
    ignored = sorted(set(masks) - set(_lower(labels)))
    if ignored:
        notes.append(f"ignored structures: {', '.join(ignored)}")
    return label, notes


def _nothing(folder: Path, series: Sequence[Series], images_only: bool) -> InputError:
    """Why a folder gives no case."""
    if not series:
        what, mend = "there is no DICOM file in the folder", "correct the path of the folder"
    elif images_only or not any(one.modality in IMAGES for one in series):
        kinds = ", ".join(sorted({one.modality or "unknown" for one in series}))
        what = f"no image series fits the channels; there are series of {kinds}"
        mend = "correct the patterns of --channels, or add the image series to the folder"
    else:
        what = "no image series has a DICOM-SEG or an RTSTRUCT"
        mend = "add the segmentations, or convert the images alone with --images-only"
    return InputError(what, where=str(folder), mend=mend)


def _check_names(labels: Sequence[str], names: Sequence[str], out: Path) -> None:
    """Raise InputError for labels that no structure has, unless an earlier conversion had them."""
    known = {*_lower(names), *_lower(_earlier_names(out))}
    faults = [
        InputError(
            f"no structure is called {label!r}",
            where="--labels",
            mend=f"choose from the structures that there are: {_by_likeness(label, names)}",
        )
        for label in labels
        if label.lower() not in known
    ]
    raise_all("some labels have no structure", faults)


def _earlier_names(out: Path) -> Sequence[str]:
    """The labels of cases that were converted to the same folder before."""
    try:
        return task_of(out).labels[1:]
    except FedNNUNetError:
        return ()


def _by_likeness(label: str, names: Sequence[str]) -> str:
    """The names in quotation marks, the most similar first."""

    def unlike(name: str) -> float:
        return -SequenceMatcher(None, label.lower(), name.lower()).ratio()

    return ", ".join(repr(name) for name in sorted(names, key=unlike)) or "none"


def _lower(names: Sequence[str]) -> list[str]:
    return [name.lower() for name in names]


def _all_names(cases: Sequence[DicomCase]) -> tuple[str, ...]:
    """Names of all structures, sorted; names that differ only in case are the same structure."""
    names: dict[str, str] = {}
    for case in cases:
        for reference in case.references:
            with suppress(DataError), reading(reference.modality, reference.where):
                for name in names_in(reference):  # what is damaged is a fault of its case
                    names.setdefault(name.lower(), name)
    return tuple(names[key] for key in sorted(names))


def _name_cases(
    cases: Sequence[DicomCase], known: dict[str, Origin], prefix: str
) -> list[tuple[str, DicomCase]]:
    """Anonymous names: numbers in the order of a hash; known series keep their names."""
    by_series = {origin.series: name for name, origin in known.items()}
    taken, number = set(known), 0
    named = []
    for case in cases:
        name = by_series.get(tuple(series.uid for series in case.channels))
        while name is None:
            number += 1
            candidate = f"{prefix}_{number:04d}"
            name = candidate if candidate not in taken else None
        taken.add(name)
        named.append((name, case))
    return named


def _origin(case: DicomCase, known: dict[str, Origin]) -> Origin:
    patient = case.channels[0].patient or f"study {case.channels[0].study}"
    groups = {origin.patient: origin.group for origin in known.values()}
    return Origin(
        patient=patient,
        study=case.channels[0].study,
        series=tuple(series.uid for series in case.channels),
        references=tuple(series.uid for series in case.references),
        group=groups.get(patient) or f"patient_{len(set(groups.values())) + 1:04d}",
    )


def _write_mapping(path: Path, mapping: Mapping) -> None:
    """Write who is who, for the owner's eyes alone from the first byte on."""
    with private_files():
        records.write(mapping, path)


def _write_header(
    out: Path, channels: Sequence[Channel], labels: Sequence[str], known: dict[str, Origin]
) -> None:
    header = {
        "channel_names": {str(i): channel.name for i, channel in enumerate(channels)},
        "labels": {name: value for value, name in enumerate(("background", *labels))},
        "numTraining": len(known),
        "file_ending": ".nii.gz",
        "groups": {name: origin.group for name, origin in known.items()},
    }
    records.write(header, out / "dataset.json")
