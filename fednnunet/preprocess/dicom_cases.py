"""Which series of a DICOM folder make a case: one image per channel, and what was drawn on it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fednnunet.errors import DataError, FedNNUNetError
from fednnunet.preprocess.dicom_scan import IMAGES, REFERENCES, Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel's name, and the pattern that its series' description fits (empty: any)."""

    name: str
    pattern: str = ""

    def fits(self, series: Series) -> bool:
        """Whether a series is this channel's."""
        return re.search(self.pattern, series.description, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomCase:
    """The series of one case: its channels in order, and the references drawn on any of them."""

    channels: tuple[Series, ...]
    references: tuple[Series, ...]

    @property
    def key(self) -> str:
        """A hash of the series, by which cases are put in an order that tells nothing."""
        uids = "/".join(series.uid for series in self.channels)
        return hashlib.sha256(uids.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """The cases of a folder, what was passed over, and what is ambiguous."""

    cases: tuple[DicomCase, ...]
    notes: tuple[str, ...]
    faults: tuple[FedNNUNetError, ...]


def pair(found: Sequence[Series], channels: Sequence[Channel]) -> Pairing:
    """Find for every reference the image that it was drawn on, and that image's other channels."""
    images = {series.uid: series for series in found if series.modality in IMAGES}
    notes = [
        f"passed over: {series.modality or 'unknown'} series ({len(series.slices)} files)"
        for series in found
        if series.modality not in (*IMAGES, *REFERENCES)
    ]
    faults: list[FedNNUNetError] = []
    drawn: dict[tuple[str, ...], list[Series]] = {}
    for reference in (series for series in found if series.modality in REFERENCES):
        try:
            image = _drawn_on(reference, images)
            group = tuple(series.uid for series in _channels(image, images, channels))
            drawn.setdefault(group, []).append(reference)
        except FedNNUNetError as fault:
            faults.append(fault)
    used = {uid for group in drawn for uid in group}
    alone = sum(uid not in used for uid in images)
    if alone:
        notes.append(f"passed over: {alone} image series that no reference was drawn on")
    cases = [
        DicomCase(channels=tuple(images[uid] for uid in group), references=tuple(references))
        for group, references in drawn.items()
    ]
    ordered = tuple(sorted(cases, key=lambda case: case.key))
    return Pairing(cases=ordered, notes=tuple(notes), faults=tuple(faults))


def _drawn_on(reference: Series, images: dict[str, Series]) -> Series:
    """The image a reference names, or else the only one in its frame of reference."""
    named = [images[uid] for uid in dict.fromkeys(reference.refers_to) if uid in images]
    if not named:
        named = [s for s in images.values() if reference.frame and s.frame == reference.frame]
    if len(named) == 1:
        return named[0]
    what = "no image series that is here" if not named else f"{len(named)} image series"
    raise DataError(
        f"a {reference.modality} was drawn on {what}",
        where=reference.where,
        mend="put the image series beside it" if not named else "keep the one that it was drawn on",
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
                mend="correct the pattern, or move the series out",
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
                mend=f"make the pattern {channel.pattern!r} fit the description of exactly one",
            )
        found.append(fitting[0])
    return found
