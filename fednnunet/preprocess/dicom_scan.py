"""List the series in a folder of DICOM files from their headers; no pixels are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fednnunet.errors import DataError, FedNNUNetError, InputError
from fednnunet.text import printable

IMAGES = ("CT", "MR", "PT", "NM", "US", "XA")
REFERENCES = ("SEG", "RTSTRUCT")
_TAGS = [
    "Columns",
    "FrameOfReferenceUID",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "Modality",
    "NumberOfFrames",
    "PatientID",
    "ReferencedFrameOfReferenceSequence",
    "ReferencedSeriesSequence",
    "Rows",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
]
_UNEVEN = 0.05  # tolerance of the distance between slices, relative; more is a gap
TILT = 0.02  # tolerance of the in-plane shift between slices, relative; more is a tilted gantry


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One file of a series; `position_mm` and `axes` (row, column) are None if not stated."""

    path: Path
    uid: str
    frames: int
    pixels: int
    position_mm: tuple[float, ...] | None
    axes: tuple[float, ...] | None


@dataclass(slots=True, kw_only=True)
class Series:
    """A series: an image, or a segmentation (SEG, RTSTRUCT) of the series in `refers_to`."""

    uid: str
    modality: str
    patient: str
    study: str
    frame: str
    description: str
    refers_to: tuple[str, ...]
    slices: list[Slice] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The place of the series for error messages, which stay at the site."""
        return f"{self.slices[0].path.parent}, series {self.uid} ({len(self.slices)} files)"


def require_dicom() -> None:
    """Raise InputError if the libraries for DICOM are not installed."""
    try:
        import highdicom  # noqa: F401
        import pydicom  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"DICOM needs a library that is not installed: {error.name}",
            mend="run: pip install 'fednnunet[dicom]'",
        ) from None


@contextmanager
def reading(what: str, where: str) -> Iterator[None]:
    """Turn whatever the libraries for DICOM raise for damaged files into a DataError."""
    try:
        yield
    except FedNNUNetError:
        raise
    except Exception as error:  # noqa: BLE001 - they raise of many kinds, some of Python's own
        raise DataError(
            f"{what} cannot be read: {type(error).__name__}: {printable(str(error))[:160]}",
            where=where,
            mend="export it again from its source, or move it out",
        ) from None


def scan(folder: Path) -> tuple[tuple[Series, ...], tuple[FedNNUNetError, ...]]:
    """All series under `folder`, sorted by UID, and a fault for every damaged DICOM file.

    Files that are not DICOM are passed over.
    """
    import pydicom

    if not folder.is_dir():
        raise InputError(
            f"the folder {folder} is missing",
            where=str(folder),
            mend="correct the path of the folder",
        )
    found: dict[str, Series] = {}
    faults: list[FedNNUNetError] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if not _is_dicom(path):
            continue
        try:
            with reading("a DICOM file", str(path)):
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
                if "SeriesInstanceUID" in header:
                    one, part = _series(header), _slice(header, path)
                    found.setdefault(one.uid, one).slices.append(part)
        except FedNNUNetError as fault:
            faults.append(fault)
    return tuple(found[uid] for uid in sorted(found)), tuple(faults)


def _is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def in_order(series: Series, *, tilted: bool = False) -> list[Path]:
    """The files of an image series in the order of their positions.

    Raises DataError unless the series is one regular stack of slices: for missing slices, several
    volumes in one series, mixed orientations or missing positions, and for a tilted gantry unless
    `tilted`.
    """
    slices = series.slices
    if len(slices) < 2:
        raise _refused(series, "has a single slice", "export the series of the whole volume")
    positions = [s.position_mm for s in slices]
    orientations = [s.axes for s in slices]
    if None in positions or None in orientations:
        raise _refused(
            series,
            "does not state the positions of its slices",
            "export the series again, with ImagePositionPatient and ImageOrientationPatient",
        )
    axes = np.array(orientations, float)
    if np.abs(axes - axes[0]).max() > 1e-3:
        raise _refused(
            series, "mixes orientations, like a localiser", "remove the series from the folder"
        )
    normal = np.cross(axes[0, :3], axes[0, 3:])
    places = np.array(positions, float)
    order = np.argsort(places @ normal)
    _check_stack(series, places[order], normal, tilted=tilted)
    return [slices[i].path for i in order]


def _check_stack(series: Series, places: np.ndarray, normal: np.ndarray, *, tilted: bool) -> None:
    """Raise unless the steps between slices (n, 3 in mm) are equal and along the normal.

    If they may be `tilted`, they only have to be equal and at most 45 degrees from it.
    """
    steps = np.diff(places, axis=0)
    heights = steps @ normal
    usual = float(np.median(heights))
    if heights.min() < 1e-3:
        what = f"has several slices at one position ({len(places)} files): more than one volume"
        raise _refused(series, what, "split it into one series per volume (phase, echo, b-value)")
    sideways = steps - heights[:, None] * normal
    if tilted:
        shift = float(np.linalg.norm(np.median(sideways, axis=0)))
        if shift > (1 + TILT) * usual:
            what = f"is not one volume: slices {usual:.4g} mm apart are {shift:.4g} mm beside"
            raise _refused(series, f"{what} each other", "export the whole series again")
        sideways = sideways - np.median(sideways, axis=0)
    if np.linalg.norm(sideways, axis=1).max() > TILT * usual and not (
        tilted and len(_gaps(heights))
    ):
        raise _refused(
            series, "was acquired with a tilted gantry", "resample it to an upright grid first"
        )
    gaps = _gaps(heights)
    if len(gaps):
        missing = int(np.rint(heights[gaps] / usual - 1).sum())
        at = places[gaps[0]]
        what = f"misses slices: about {missing} at {len(gaps)} places, the first near {at} mm"
        if missing <= 0:
            what = f"has uneven distances between slices, the first near {at} mm"
        raise _refused(series, what, "export the whole series again")


def _gaps(heights: np.ndarray) -> np.ndarray:
    """Where the distance between slices is not the usual one."""
    usual = float(np.median(heights))
    return np.flatnonzero(np.abs(heights - usual) > _UNEVEN * usual)


def _refused(series: Series, what: str, mend: str) -> DataError:
    return DataError(f"a {series.modality} series {what}", where=series.where, mend=mend)


def _series(header: Any) -> Series:
    return Series(
        uid=str(header.SeriesInstanceUID),
        modality=str(header.get("Modality", "")),
        patient=str(header.get("PatientID", "")),
        study=str(header.get("StudyInstanceUID", "")),
        frame=str(header.get("FrameOfReferenceUID", "")),
        description=str(header.get("SeriesDescription", "")),
        refers_to=tuple(_references(header)),
    )


def _references(header: Any) -> Iterable[str]:
    """UIDs of the series that a SEG or an RTSTRUCT refers to."""
    for series in header.get("ReferencedSeriesSequence", ()):
        yield str(series.SeriesInstanceUID)
    for frame in header.get("ReferencedFrameOfReferenceSequence", ()):
        for study in frame.get("RTReferencedStudySequence", ()):
            for series in study.get("RTReferencedSeriesSequence", ()):
                yield str(series.SeriesInstanceUID)


def _slice(header: Any, path: Path) -> Slice:
    position, axes = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    return Slice(
        path=path,
        uid=str(header.get("SOPInstanceUID", "")),
        frames=max(int(header.get("NumberOfFrames", 1) or 1), 1),
        pixels=int(header.get("Rows", 1) or 1) * int(header.get("Columns", 1) or 1),
        position_mm=tuple(map(float, position)) if position else None,
        axes=tuple(map(float, axes)) if axes else None,
    )
