"""Intensity normalisation, channel by channel, before resampling.

Isensee et al., nnU-Net (Nature Methods 2021): CT is normalised with the foreground statistics of
all cases, every other channel with its own mean and standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fednnunet.errors import DataError
from fednnunet.planning.plan import Intensity

_SMALLEST_STD = 1e-8
_Scheme = Callable[[np.ndarray, Intensity, np.ndarray | None], None]


def normalise(
    channel: np.ndarray, scheme: str, intensity: Intensity, inside: np.ndarray | None
) -> None:
    """Normalise one `channel` (z, y, x; float32) in place by the named scheme.

    `inside` is the mask of the voxels that z-score uses; `None` means the whole crop.
    """
    _SCHEMES[scheme](channel, intensity, inside)


def _zscore(channel: np.ndarray, intensity: Intensity, inside: np.ndarray | None) -> None:
    if inside is None:
        mean, std = mean_std(channel)
        channel -= np.float32(mean)
        channel /= np.float32(max(std, _SMALLEST_STD))
        return
    values = channel[inside]
    mean, std = mean_std(values)
    values -= np.float32(mean)
    values /= np.float32(max(std, _SMALLEST_STD))
    channel[inside] = values


def _ct(channel: np.ndarray, intensity: Intensity, inside: np.ndarray | None) -> None:
    np.clip(channel, intensity.percentile_00_5, intensity.percentile_99_5, out=channel)
    channel -= np.float32(intensity.mean)
    channel /= np.float32(max(intensity.std, _SMALLEST_STD))


def _rescale(channel: np.ndarray, intensity: Intensity, inside: np.ndarray | None) -> None:
    channel -= channel.min()
    channel /= max(channel.max(), np.float32(_SMALLEST_STD))


def _rgb(channel: np.ndarray, intensity: Intensity, inside: np.ndarray | None) -> None:
    low, high = float(channel.min()), float(channel.max())
    if low < 0 or high > 255:
        raise DataError(
            f"an RGB channel has values from {low:g} to {high:g}",
            mend="correct the images to values from 0 to 255, or the channel's name",
        )
    channel /= np.float32(255)


def _none(channel: np.ndarray, intensity: Intensity, inside: np.ndarray | None) -> None:
    return


_SCHEMES: dict[str, _Scheme] = {
    "ct": _ct,
    "zscore": _zscore,
    "rescale_to_0_1": _rescale,
    "rgb_to_0_1": _rgb,
    "none": _none,
}


def mean_std(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation in float64, without a float64 copy of the whole array."""
    if values.size == 0:
        return 0.0, 0.0
    flat = values.reshape(len(values) if values.ndim > 1 else 1, -1)
    mean = sum(float(part.sum(dtype=np.float64)) for part in flat) / flat.size
    squares = 0.0
    for part in flat:
        for start in range(0, part.size, 1 << 18):
            centred = part[start : start + (1 << 18)].astype(np.float64) - mean
            squares += float(centred @ centred)
    return mean, (squares / flat.size) ** 0.5
