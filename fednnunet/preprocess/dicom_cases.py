"""Group the series of a DICOM folder into cases: one image per channel, and its segmentations."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fednnunet.errors import DataError, FedNNUNetError
from fednnunet.preprocess.dicom_scan import IMAGES, REFERENCES, Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel's name, and a regular expression for its series' description (empty: any)."""

    name: str
    pattern: str = ""

    def fits(self, series: Series) -> bool:
        """Whether a series belongs to this channel."""
        return re.search(self.pattern, series.description, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomCase:
    """The series of one case: its channels in order, and the segmentations of any of them."""

    channels: tuple[Series, ...]
    references: tuple[Series, ...]

    @property
    def key(self) -> str:
        """A hash of the series; sorting by it gives an order unrelated to patients and dates."""
        uids = "/".join(series.uid for series in self.channels)
        return hashlib.sha256(uids.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """The cases of a folder, notes on skipped series, and ambiguous series."""

    cases: tuple[DicomCase, ...]
    notes: tuple[str, ...]
    faults: tuple[FedNNUNetError, ...]


def pair(found: Sequence[Series], channels: Sequence[Channel]) -> Pairing:
    """Find the image that each segmentation refers to, and the other channels of that image."""
    images = {series.uid: series for series in found if series.modality in IMAGES}
    notes = [
        f"skipped: {series.modality or 'unknown'} series ({len(series.slices)} files)"
        for series in found
        if series.modality not in (*IMAGES, *REFERENCES)
    ]
    faults: list[FedNNUNetError] = []
    by_image: dict[tuple[str, ...], list[Series]] = {}
    for reference in (series for series in found if series.modality in REFERENCES):
        try:
            image = _referenced_image(reference, images)
            group = tuple(series.uid for series in _channels(image, images, channels))
            by_image.setdefault(group, []).append(reference)
        except FedNNUNetError as fault:
            faults.append(fault)
    used = {uid for group in by_image for uid in group}
    unused = sum(uid not in used for uid in images)
    if unused:
        notes.append(f"skipped: {unused} image series without a segmentation")
    cases = [
        DicomCase(channels=tuple(images[uid] for uid in group), references=tuple(references))
        for group, references in by_image.items()
    ]
    ordered = tuple(sorted(cases, key=lambda case: case.key))
    return Pairing(cases=ordered, notes=tuple(notes), faults=tuple(faults))


def images_alone(found: Sequence[Series], channels: Sequence[Channel]) -> Pairing:
    """Every image series as a case; with several channels, those of each study as one."""
    images = {series.uid: series for series in found if series.modality in IMAGES}
    first = [series for series in images.values() if channels[0].fits(series)]
    notes = []
    if len(first) < len(images) and len(channels) == 1:
        notes.append(f"skipped: {len(images) - len(first)} image series that do not fit")
    if others := len(found) - len(images):
        notes.append(f"skipped: {others} series that are no images")
    if len(channels) > 1:
        first = list({series.study: series for series in reversed(first)}.values())
    faults: list[FedNNUNetError] = []
    cases = []
    for image in first:
        try:
            group = tuple(_channels(image, images, channels))
            cases.append(DicomCase(channels=group, references=()))
        except FedNNUNetError as fault:
            faults.append(fault)
    ordered = tuple(sorted(cases, key=lambda case: case.key))
    return Pairing(cases=ordered, notes=tuple(notes), faults=tuple(faults))


def _referenced_image(reference: Series, images: dict[str, Series]) -> Series:
    """The image that a reference names, or else the only one in its frame of reference."""
    named = [images[uid] for uid in dict.fromkeys(reference.refers_to) if uid in images]
    if not named:
        named = [s for s in images.values() if reference.frame and s.frame == reference.frame]
    if len(named) == 1:
        return named[0]
    what = "no image series in this folder" if not named else f"{len(named)} image series"
    raise DataError(
        f"a {reference.modality} refers to {what}",
        where=reference.where,
        mend="add its image series to the folder"
        if not named
        else "keep only the image series that it belongs to",
    )


def _channels(
    image: Series, images: dict[str, Series], channels: Sequence[Channel]
) -> list[Series]:
    """One series per channel, out of the image's own study."""
    if len(channels) == 1:
        if not channels[0].fits(image):
            raise DataError(
                f"a {image.modality} series does not fit the pattern {channels[0].pattern!r}",
                where=image.where,
                mend="correct the pattern, or remove the series from the folder",
            )
        return [image]
    study = [series for series in images.values() if series.study == image.study]
    found: list[Series] = []
    for channel in channels:
        fitting = [series for series in study if channel.fits(series) and series not in found]
        if image in fitting:
            fitting = [image]
        if len(fitting) != 1:
            raise DataError(
                f"{len(fitting)} series of a study fit channel {channel.name}",
                where=f"study of {image.where}",
                mend=f"change the pattern {channel.pattern!r} so that it fits exactly one series",
            )
        found.append(fitting[0])
    return found
