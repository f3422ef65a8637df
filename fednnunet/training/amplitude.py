"""Amplitudes of the low frequencies of patches, and patches that take on another site's.

Liu et al., "FedDG: Federated Domain Generalization on Medical Image Segmentation via Episodic
Learning in Continuous Frequency Space", CVPR 2021. The amplitude of an image's low frequencies
carries scanner and protocol, the phase carries anatomy. With X the Fourier transform of a patch and
T another site's amplitude, every coefficient in a cube about the lowest frequency becomes

    ((1 - mix) * |X| + mix * T) * X / |X|,

so that the phase and all other coefficients stay as they are. The cube holds, on each axis, up to
`waves` whole waves over the patch. Axes are (c, z, y, x), in 2D (c, y, x); the transform runs over
all but the first. As a real image's spectrum is symmetric, half of the last axis is enough: an
amplitude has the shape (c, 2 w + 1, 2 w + 1, w + 1), with wave numbers in the order 0..w, -w..-1 on
the first axes and 0..w on the last. An axis too short for that many waves leaves the others of them
zero and unused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fednnunet.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A step of augmentation: with `chance`, a patch takes on part of another site's amplitude.

    One of `amplitudes` is chosen uniformly, and `mix` is uniform between 0 and 1. It uses torch's
    global random generator, which the augmenter seeds for each patch.
    """

    amplitudes: tuple[Tensor, ...]
    chance: float = 0.5

    def __post_init__(self) -> None:
        if not self.amplitudes or not 0 <= self.chance <= 1:
            raise InputError(
                f"{len(self.amplitudes)} amplitudes and a chance of {self.chance}",
                mend="give at least one amplitude, and a chance from 0 to 1",
            )

    def __call__(self, **values: Any) -> dict[str, Any]:
        """The values with `image` (c, *patch) changed, or as they were."""
        chance, pick, mix = torch.rand(3).tolist()
        if chance >= self.chance:
            return values
        amplitude = self.amplitudes[int(pick * len(self.amplitudes))]
        return {**values, "image": exchange(values["image"], amplitude, mix)}


def amplitude_shape(channels: int, axes: int, waves: int) -> tuple[int, ...]:
    """The shape of an amplitude of patches of so many axes."""
    return (channels, *(2 * waves + 1,) * (axes - 1), waves + 1)


def low_amplitude(image: Tensor, waves: int) -> Tensor:
    """Amplitude, float32, of the low frequencies of a patch float32 (c, *patch)."""
    spectrum = torch.fft.rfftn(image, dim=_axes(image))
    cube = _cube(image.shape[1:], waves)
    found = spectrum.real.new_zeros(amplitude_shape(len(image), image.ndim - 1, waves))
    found[cube] = spectrum[cube].abs()
    return found


def exchange(image: Tensor, amplitude: Tensor, mix: float) -> Tensor:
    """The patch (c, *patch) with its low amplitude mixed with `amplitude`.

    `mix` 0 returns the patch bit for bit, 1 gives it that amplitude. A coefficient that is zero has
    no phase; it gets phase 0. Raises InputError if the amplitude was not measured on
    patches of as many channels and axes.
    """
    waves = amplitude.shape[-1] - 1
    if tuple(amplitude.shape) != amplitude_shape(len(image), image.ndim - 1, waves):
        raise InputError(
            f"an amplitude of shape {list(amplitude.shape)} does not fit a patch of "
            f"shape {list(image.shape)}",
            mend="all sites must measure it by the same plan",
        )
    cube = _cube(image.shape[1:], waves)
    spectrum = torch.fft.rfftn(image, dim=_axes(image))
    low, wanted = spectrum[cube], amplitude.to(image)[cube]
    found = low.abs()
    phase = torch.where(found > 0, low / found, torch.ones_like(low))
    change = torch.zeros_like(spectrum)
    change[cube] = mix * (wanted - found) * phase
    return image + torch.fft.irfftn(change, s=image.shape[1:], dim=_axes(image))


def mean_amplitude(cases: Iterable[Tensor], waves: int) -> Tensor:
    """Mean low amplitude, float32, over cases, each a stack of patches (b, c, *patch).

    Every case counts the same. The sum is in float64, in the order of the cases. Raises InputError
    where there is none.
    """
    means = [
        torch.stack([low_amplitude(image, waves) for image in patches]).double().mean(0)
        for patches in cases
    ]
    if not means:
        raise InputError("there is no case to average over", mend="give at least one")
    return torch.stack(means).mean(0).float()


def _axes(image: Tensor) -> tuple[int, ...]:
    return tuple(range(1, image.ndim))


def _cube(patch_vox: Sequence[int], waves: int) -> tuple[Any, ...]:
    """Index of the cube's wave numbers, in a half spectrum as in an amplitude: all channels.

    At most what an axis holds below its highest frequency, so that no coefficient occurs twice.
    """
    fitting = [min(waves, (edge - 1) // 2) for edge in patch_vox]
    numbers = [[*range(n + 1), *range(-n, 0)] for n in fitting[:-1]]
    numbers.append(list(range(fitting[-1] + 1)))
    return (slice(None), *np.ix_(*numbers))
