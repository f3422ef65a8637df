"""Random augmentations of training patches: the one file that knows batchgeneratorsv2.

Its transforms use numpy's and torch's global random generators. Here each patch has its own seed:
the generators are set from it, and restored afterwards, so that the same seed gives the same patch
in any process. Whether a patch is rotated is decided before it is read, so that most patches are
read without the margin that a rotation needs.
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

from fednnunet.training.patches import OUTSIDE, Box, PatchSize, enlarged
from fednnunet.training.recipe import Augmentation
from fednnunet.training.warp import Cells, Points, image_at, labels_at, rotated_points

_FLAT = 3.0  # longest edge over the first from which rotations stay in the plane
_LONG = 1.5  # ratio of edges from which 2D patches are rotated a little only


Voxels = tuple[int, int, int]
Reader = Callable[[Voxels, Voxels], Box]
"""Reads the box at a corner, counted from that of the largest box, of a size (both z, y, x)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialAugmentation:
    """Rotates and scales patches at random; with `flat`, as in 2D, within their (y, x) planes."""

    transform: Any
    size: PatchSize
    flat: bool

    def draw(self) -> Points | None:
        """Random points at which to take the patch from the larger box; `None`: as it is."""
        patch, size = self.size.final_vox[self.flat :], self.size.read_vox[self.flat :]
        only_axes = torch.empty((1,) * (len(patch) + 1), device="meta")
        affine = self.transform.get_parameters(image=only_axes)["affine"]
        return None if affine is None else rotated_points(affine, patch, size)

    def apply(self, box: Box, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """Image (c, z, y, x) and labels (z, y, x) of the larger box at the points."""
        if self.flat:
            box = box.padded((0,))
        start, inside = box.start_vox[self.flat :], box.labels.shape[self.flat :]
        cells = Cells.of([x - np.float32(s) for x, s in zip(points, start, strict=True)], inside)
        channels, planes = len(box.image), len(box.labels) if self.flat else 1
        image = image_at(box.image.reshape(channels * planes, *inside), cells)
        labels = labels_at(box.labels.reshape(planes, *inside), cells, outside=OUTSIDE)
        final = self.size.final_vox
        return image.reshape(channels, *final), labels.reshape(final)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmenter:
    """Applies `spatial`, if there is one, and `steps` to a patch; `size` says what to read."""

    size: PatchSize
    steps: tuple[Callable[..., dict[str, Any]], ...]
    is_2d: bool
    spatial: SpatialAugmentation | None = None

    def __call__(self, read: Reader, seed: int, *, upright: bool = False) -> tuple[Tensor, Tensor]:
        """An augmented patch of `size.final_vox` (c, z, y, x) and its labels (z, y, x).

        An `upright` patch is neither rotated nor scaled, and all else about it is as of the seed.

        It is the middle of the box of `size.read_vox`, which is read whole only for spatial
        augmentation. In 2D the first axis (of one voxel) is dropped. Labels are int16, -1 outside.
        """
        with torch.no_grad(), seeded(seed):
            points = self.spatial.draw() if self.spatial else None
            if self.spatial is None or points is None or upright:
                box = read(self.size.inset_vox, self.size.final_vox).padded()
                image, labels = box.image, box.labels
            else:
                image, labels = self.spatial.apply(read((0, 0, 0), self.size.read_vox), points)
            if self.is_2d:
                image, labels = image[:, 0], labels[0]
            values: dict[str, Any] = {
                "image": torch.from_numpy(image),
                "segmentation": torch.from_numpy(labels[None]),
            }
            for step in self.steps:
                values = step(**values)
        return values["image"].contiguous(), values["segmentation"][0].contiguous()


@dataclass(frozen=True, slots=True)
class OutsideIsZero:
    """Sets image channels to 0 outside the patient, again after the changes of intensity.

    batchgeneratorsv2's own does so wherever labels are negative, which would erase the image where
    only its labels are unknown.
    """

    channels: tuple[int, ...]

    def __call__(self, **values: Tensor) -> dict[str, Tensor]:
        """The same `image` (c, z, y, x) and `segmentation` (1, z, y, x), the image changed."""
        outside = values["segmentation"][0] == OUTSIDE
        for channel in self.channels:
            values["image"][channel, outside] = 0
        return values


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run with the global generators of python, numpy and torch set from `seed`; restore them."""
    torchs = torch.default_generator  # `torch.manual_seed` would also call every absent device's
    before = random.getstate(), np.random.get_state(), torchs.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torchs.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torchs.set_state(before[2])


def make_augmenter(
    patch_vox: Sequence[int],
    use_mask: Sequence[bool],
    augmentation: Augmentation,
    *,
    first: Sequence[Callable[..., dict[str, Any]]] = (),
) -> Augmenter:
    """Build nnU-Net's sequence of transforms for a patch of (z, y, x) or (y, x) voxels.

    The steps `first` come after the spatial augmentation and before all others.
    """
    is_2d, patch = len(patch_vox) == 2, tuple(patch_vox)
    flat = not is_2d and max(patch) / patch[0] > _FLAT
    degrees = _degrees(patch, flat)
    read = patch
    if augmentation.spatial:
        read = enlarged(patch, degrees)
        if flat:
            read = (patch[0], *read[1:])
    lead = (1,) if is_2d else ()
    size = PatchSize(final_vox=_three(lead + patch), read_vox=_three(lead + read))
    return Augmenter(
        size=size,
        steps=(*first, *_intensity(augmentation, flat), *_last(len(patch), use_mask, augmentation)),
        is_2d=is_2d,
        spatial=_spatial(size, degrees, flat or is_2d, augmentation),
    )


def plain_augmenter(patch_vox: Sequence[int]) -> Augmenter:
    """No augmentation: for validation."""
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
    size: PatchSize, degrees: float, flat: bool, augmentation: Augmentation
) -> SpatialAugmentation | None:
    if not augmentation.spatial:
        return None
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

    angle = float(np.deg2rad(degrees))
    transform = SpatialTransform(
        (1,) * (3 - flat),  # it only gives parameters, its own grid is not used
        patch_center_dist_from_border=0,
        random_crop=False,
        p_rotation=augmentation.rotation,
        rotation=(-angle, angle),
        p_scaling=augmentation.scaling,
        scaling=(0.7, 1.4),
        p_synchronize_scaling_across_axes=1,
    )
    return SpatialAugmentation(transform=transform, size=size, flat=flat)


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

    steps: list[Any] = [MirrorTransform(tuple(range(axes)))] if augmentation.mirror else []
    if any(use_mask):
        masked = [channel for channel, used in enumerate(use_mask) if used]
        steps.append(OutsideIsZero(tuple(masked)))
    return steps
