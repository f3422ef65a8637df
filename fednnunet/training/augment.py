"""Random changes of training patches: the one file that knows batchgeneratorsv2.

Its transforms draw from numpy's and torch's global generators. Here each patch has its own seed:
the generators are set from it, and put back as they were, so nothing leaks and the same seed gives
the same patch in any process.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fednnunet.training.patches import OUTSIDE, PatchSize, enlarged
from fednnunet.training.recipe import Augmentation

_FLAT = 3.0  # longest edge over the first from which turns stay in the plane
_LONG = 1.5  # ratio of edges from which 2D patches are turned a little only


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmenter:
    """Applies `steps` to a patch; `size` says what to read for it."""

    size: PatchSize
    steps: tuple[Callable[..., dict[str, Any]], ...]
    is_2d: bool

    def __call__(self, image: np.ndarray, labels: np.ndarray, seed: int) -> tuple[Tensor, Tensor]:
        """Patch of `size.read_vox` (c, z, y, x) and labels (z, y, x) to those of `final_vox`.

        In 2D the first axis (of one voxel) is dropped. Labels stay int16, -1 outside.
        """
        axis = 1 if self.is_2d else None
        picture = torch.from_numpy(image if axis is None else image[:, 0])
        mask = torch.from_numpy(labels[None] if axis is None else labels)
        values = {"image": picture, "segmentation": mask}
        with torch.no_grad(), seeded(seed):
            for step in self.steps:
                values = step(**values)
        return values["image"].contiguous(), values["segmentation"][0].contiguous()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run with the global generators of python, numpy and torch set from `seed`; restore them."""
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def make_augmenter(
    patch_vox: Sequence[int], use_mask: Sequence[bool], augmentation: Augmentation
) -> Augmenter:
    """Build nnU-Net's sequence of transforms for a patch of (z, y, x) or (y, x) voxels."""
    is_2d, patch = len(patch_vox) == 2, tuple(patch_vox)
    flat = not is_2d and max(patch) / patch[0] > _FLAT
    degrees = _degrees(patch, flat)
    read = patch
    if augmentation.moves:
        read = enlarged(patch, degrees)
        if flat:
            read = (patch[0], *read[1:])
    steps = [
        *_spatial(patch, degrees, flat, augmentation),
        *_intensity(augmentation, flat),
        *_last(len(patch), use_mask, augmentation),
    ]
    lead = (1,) if is_2d else ()
    size = PatchSize(final_vox=_three(lead + patch), read_vox=_three(lead + read))
    return Augmenter(size=size, steps=tuple(steps), is_2d=is_2d)


def plain_augmenter(patch_vox: Sequence[int]) -> Augmenter:
    """No change at all: for validation."""
    lead = (1,) if len(patch_vox) == 2 else ()
    size = _three(lead + tuple(patch_vox))
    return Augmenter(
        size=PatchSize(final_vox=size, read_vox=size), steps=(), is_2d=len(patch_vox) == 2
    )


def _three(values: Sequence[int]) -> tuple[int, int, int]:
    z, y, x = values
    return z, y, x


def _degrees(patch: Sequence[int], flat: bool) -> float:
    if len(patch) == 2:
        return 15.0 if max(patch) / min(patch) > _LONG else 180.0
    return 180.0 if flat else 30.0


def _spatial(
    patch: tuple[int, ...], degrees: float, flat: bool, augmentation: Augmentation
) -> list[Any]:
    if not augmentation.moves:
        return []
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.pseudo2d import (
        Convert2DTo3DTransform,
        Convert3DTo2DTransform,
    )

    angle = float(np.deg2rad(degrees))
    turn = SpatialTransform(
        patch[1:] if flat else patch,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_rotation=augmentation.rotation,
        rotation=(-angle, angle),
        p_scaling=augmentation.scaling,
        scaling=(0.7, 1.4),
        p_synchronize_scaling_across_axes=1,
        border_mode_seg="constant",
        padding_value_seg=OUTSIDE,
    )
    return [Convert3DTo2DTransform(), turn, Convert2DTo3DTransform()] if flat else [turn]


def _intensity(augmentation: Augmentation, flat: bool) -> list[Any]:
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    near, gamma = BGContrast((0.75, 1.25)), BGContrast((0.7, 1.5))
    table = (
        (augmentation.noise, GaussianNoiseTransform((0, 0.1), 1, synchronize_channels=True)),
        # its benchmark would choose between two algorithms by the clock: not reproducible
        (augmentation.blur, GaussianBlurTransform((0.5, 1.0), False, False, 0.5, benchmark=False)),
        (augmentation.brightness, MultiplicativeBrightnessTransform(near, False, 1)),
        (augmentation.contrast, ContrastTransform(near, True, False, 1)),
        (
            augmentation.low_resolution,
            SimulateLowResolutionTransform(
                (0.5, 1), False, True, (0,) if flat else None, None, p_per_channel=0.5
            ),
        ),
        (augmentation.gamma_inverted, GammaTransform(gamma, 1, False, 1, 1)),
        (augmentation.gamma, GammaTransform(gamma, 0, False, 1, 1)),
    )
    return [RandomTransform(step, chance) for chance, step in table if chance > 0]


def _last(axes: int, use_mask: Sequence[bool], augmentation: Augmentation) -> list[Any]:
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform

    steps: list[Any] = [MirrorTransform(tuple(range(axes)))] if augmentation.mirror else []
    if any(use_mask):
        masked = [channel for channel, used in enumerate(use_mask) if used]
        steps.append(MaskImageTransform(masked, 0, 0))
    return steps
