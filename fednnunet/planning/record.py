"""A fingerprint as JSON; sums that are zero are left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fednnunet import records
from fednnunet.errors import ReplyError
from fednnunet.planning.fingerprint import Fingerprint, Layout
from fednnunet.planning.histogram import CROP_RATIO, SHAPE_BINS, SPACING_MM
from fednnunet.planning.sketch import INTENSITY_BINS
from fednnunet.task import Task

SCHEMA = 3
_MEND = "measure the cases again, or copy the file from its source"
BINS = (
    f"spacing {SPACING_MM.bins}, shape {SHAPE_BINS}, crop {CROP_RATIO.bins}, "
    f"intensity {INTENSITY_BINS}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """One block of a fingerprint; sums that are not listed are 0."""

    places: tuple[int, ...]
    """Indices in the flattened block."""
    values: tuple[float, ...]
    """The sum at each of these indices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintRecord:
    """`fingerprint.json`: the sums of one site, or those of all sites together."""

    schema: int = SCHEMA
    """Number of the file format."""
    bins: str = BINS
    """Numbers of bins of the histograms; a program with other bins refuses the file."""
    task: Task
    """The task that the cases were measured for."""
    cases: int
    """Number of cases in the sums."""
    parts: dict[str, Sums]
    """Each histogram and count by its name."""

    def __post_init__(self) -> None:
        if self.schema != SCHEMA or self.bins != BINS:
            raise ReplyError(
                f"the fingerprint has schema {self.schema} and bins {self.bins!r}, this program "
                f"has {SCHEMA} and {BINS!r}",
                mend="install the same version of the program at every site, and measure again "
                "with preprocessing/fingerprint_site.py or fednnunet_plan; a file of another "
                "schema or other bins is not converted",
            )


def write_fingerprint(fingerprint: Fingerprint, path: Path) -> None:
    """Write `fingerprint.json`, atomically."""
    records.write(to_record(fingerprint), path)


def read_fingerprint(path: Path) -> Fingerprint:
    """Read and check `fingerprint.json`."""
    return from_record(records.read(FingerprintRecord, path), source=str(path))


def to_record(fingerprint: Fingerprint) -> FingerprintRecord:
    """The fingerprint as a JSON-able record."""
    parts = {}
    for name in Layout.of(fingerprint.task).blocks:
        flat = fingerprint.block(name).ravel()
        places = np.flatnonzero(flat)
        parts[name] = Sums(places=tuple(places.tolist()), values=tuple(flat[places].tolist()))
    return FingerprintRecord(task=fingerprint.task, cases=fingerprint.cases, parts=parts)


def from_record(record: FingerprintRecord, *, source: str = "") -> Fingerprint:
    """The fingerprint in a record; raises ReplyError for unknown, missing or misplaced parts."""
    fingerprint = Fingerprint.empty(record.task)
    names = Layout.of(record.task).blocks.keys()
    if names != record.parts.keys():
        wrong = ", ".join(sorted(names ^ record.parts.keys()))
        raise ReplyError(f"parts missing or unknown: {wrong}", where=source, mend=_MEND)
    for name, sums in record.parts.items():
        flat = fingerprint.block(name).reshape(-1)
        places = np.array(sums.places, np.int64)
        out_of_range = np.any((places < 0) | (places >= len(flat)))
        if len(places) != len(sums.values) or out_of_range or len(set(sums.places)) != len(places):
            raise ReplyError(
                f"part {name!r} has indices outside its {len(flat)} bins, or not one value for "
                "each index",
                where=source,
                mend=_MEND,
            )
        flat[places] = sums.values
    if fingerprint.cases != record.cases:
        raise ReplyError(
            f"{record.cases} cases are stated, {fingerprint.cases} counted",
            where=source,
            mend=_MEND,
        )
    return fingerprint
