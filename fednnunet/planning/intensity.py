"""Normalisation by channel name, and the merged foreground intensities (rules A, B and J)."""

from __future__ import annotations

from fednnunet.errors import PlanError
from fednnunet.planning.fingerprint import Fingerprint
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
