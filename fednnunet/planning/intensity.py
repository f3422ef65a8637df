"""Normalisation by channel name, and the merged foreground intensities (rules A, B and J)."""

from __future__ import annotations

import math

from fednnunet.errors import PlanError
from fednnunet.planning.fingerprint import LABEL_KINDS, Fingerprint
from fednnunet.planning.histogram import CROP_RATIO, percentile
from fednnunet.planning.plan import Intensity, Normalisation, Reason
from fednnunet.planning.sketch import mean_and_std, quantile

_BY_NAME: dict[str, Normalisation] = {
    "ct": "ct",
    "nonorm": "none",
    "zscore": "zscore",
    "rescale_to_0_1": "rescale_to_0_1",
    "rgb_to_0_1": "rgb_to_0_1",
}
_MASK_BELOW = 0.75
_DRAWN = ("full", "partial", "scribble", "point", "pseudo")
_WINDOW_HU = (-1000.0, 1000.0)  # from air to compact bone
_CT = Intensity(
    mean=0.0,
    median=0.0,
    std=_WINDOW_HU[1] / math.sqrt(3),
    min=_WINDOW_HU[0],
    max=_WINDOW_HU[1],
    percentile_00_5=_WINDOW_HU[0],
    percentile_99_5=_WINDOW_HU[1],
)
_UNUSED = Intensity(
    mean=0.0, median=0.0, std=1.0, min=0.0, max=0.0, percentile_00_5=0.0, percentile_99_5=0.0
)


def normalisation_of(channel: str) -> Normalisation:
    """The normalisation of a channel, by its name (case is ignored); z-score by default."""
    return _BY_NAME.get(channel.casefold(), "zscore")


def plan_mask_use(
    fingerprint: Fingerprint, normalisation: tuple[Normalisation, ...]
) -> tuple[tuple[bool, ...], Reason]:
    """Whether each channel is normalised inside the nonzero mask only, and why."""
    ratio = float(percentile(fingerprint.block("crop_ratio"), CROP_RATIO, 50))
    use = tuple(ratio < _MASK_BELOW and kind == "zscore" for kind in normalisation)
    channels = "; ".join(
        f"{name}: {kind}{' inside the nonzero mask' if masked else ''}"
        for name, kind, masked in zip(fingerprint.task.channels, normalisation, use, strict=True)
    )
    because = (
        f"by channel name: {channels}. Z-score uses only voxels inside the nonzero mask if the "
        f"median case keeps less than {_MASK_BELOW:.0%} of its volume after cropping; here it "
        f"keeps {ratio:.1%}"
    )
    return use, Reason(decision="normalisation", because=because)


def plan_intensity(
    fingerprint: Fingerprint, normalisation: tuple[Normalisation, ...]
) -> tuple[tuple[Intensity, ...], Reason | None]:
    """Foreground intensities per channel; with the reason, where no voxel of any class is known.

    Then, as with boxes or image labels alone, CT has a fixed window; no other normalisation uses
    intensities. Raises PlanError where maps are drawn, and none of them has foreground.
    """
    mapped = [LABEL_KINDS.index(kind) for kind in _DRAWN]
    if fingerprint.block("label_kinds")[mapped].any():
        return merged_intensity(fingerprint), None
    if fingerprint.block("cases_with_foreground")[0] >= 1:
        return merged_intensity(fingerprint), None
    because = (
        "the sites state no drawn voxel of any class (boxes and image labels tell none, and too "
        f"few cases are not stated). CT is clipped to {_WINDOW_HU[0]:g} to {_WINDOW_HU[1]:g} HU "
        "and divided by the standard deviation of even values in it; other normalisations use each "
        "image's own intensities"
    )
    found = tuple(_CT if kind == "ct" else _UNUSED for kind in normalisation)
    return found, Reason(decision="intensities", because=because)


def label_reason(fingerprint: Fingerprint) -> Reason | None:
    """The kinds of labels and the classes that they say something of; None where all are full."""
    cases = fingerprint.block("label_kinds")[:, 0]
    kinds = {kind: int(n) for kind, n in zip(LABEL_KINDS, cases, strict=True) if n}
    classes = fingerprint.annotated_cases()
    if kinds.keys() <= {"full"}:
        return None
    by_kind = ", ".join(f"{kind} in {count}" for kind, count in kinds.items())
    by_class = ", ".join(f"{name} in {count}" for name, count in classes.items())
    because = (
        f"of {fingerprint.cases} cases, the labels are {by_kind}; they say something of "
        f"{by_class}. What is not annotated is unknown and never taught as background"
    )
    return Reason(decision="labels", because=because)


def merged_intensity(fingerprint: Fingerprint) -> tuple[Intensity, ...]:
    """Foreground intensities per channel. Raises PlanError if no case has foreground."""
    if fingerprint.block("cases_with_foreground")[0] < 1:
        raise PlanError(
            "no case has any foreground, so intensities cannot be planned",
            mend="let at least one site with annotated cases take part",
        )
    channels = range(len(fingerprint.task.channels))
    return tuple(_intensity(fingerprint, channel) for channel in channels)


def _intensity(fingerprint: Fingerprint, channel: int) -> Intensity:
    table = fingerprint.block(f"foreground_{channel}")
    mean, std = mean_and_std(table)
    return Intensity(
        mean=mean,
        median=quantile(table, 0.5),
        std=std,
        min=quantile(table, 0.0),
        max=quantile(table, 1.0),
        percentile_00_5=quantile(table, 0.005),
        percentile_99_5=quantile(table, 0.995),
    )
