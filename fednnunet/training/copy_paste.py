"""Lesions copied from one of a site's cases into the patches of another.

In the place of over-sampling by interpolation (SMOTE), which makes no plausible volume: Ghiasi et
al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation", CVPR 2021;
for lesions in volumes Zhang et al., "CarveMix: A Simple Data Augmentation Method for Brain Lesion
Segmentation", NeuroImage 2023. A label is chosen uniformly among those that are copied, then a case
that has it, then one of its voxels; the lesion is the face-connected component of copied labels
around that voxel, cut off at a patch's size. It is moved so that the voxel comes to lie on a
background voxel of the patch, and replaces image and label where the label there is background,
never an organ or what is outside of the patient. Differences from CarveMix: the lesion's own
outline is cut, and its new place is random.

The pasted case is read like any other, so augmentation treats both parts alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fednnunet.training.patches import PatchCase, PatchSize


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """A box of a case: `image` (c, z, y, x), `labels` (z, y, x) with 0 where nothing is copied.

    `anchor` is a voxel of the lesion in the box.
    """

    image: np.ndarray
    labels: np.ndarray
    anchor: tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class PastedCase:
    """A case with a lesion whose box begins at the voxel `low` (z, y, x) of the case."""

    case: PatchCase
    lesion: Lesion
    low: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels."""
        return self.case.shape

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return self.case.channels

    @property
    def locations(self) -> Mapping[int, np.ndarray]:
        """Voxels of the case's own classes."""
        return self.case.locations

    def read(self, low: Sequence[int], high: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Image and labels of a box, with what of the lesion lies in it."""
        image, labels = self.case.read(low, high)
        begin = [max(a, b, 0) for a, b in zip(low, self.low, strict=True)]
        end = [
            min(b, edge, start + size)
            for b, edge, start, size in zip(
                high, self.shape, self.low, self.lesion.labels.shape, strict=True
            )
        ]
        if any(a >= b for a, b in zip(begin, end, strict=True)):
            return image, labels
        into = _box(begin, end, [max(a, 0) for a in low])
        out_of = _box(begin, end, self.low)
        pasted = self.lesion.labels[out_of]
        changed = (pasted > 0) & (labels[into] == 0)
        image, labels = image.copy(), labels.copy()
        labels[into][changed] = pasted[changed]
        image[(slice(None), *into)][:, changed] = self.lesion.image[(slice(None), *out_of)][
            :, changed
        ]
        return image, labels


def cut_lesion(
    case: PatchCase,
    value: int,
    copied: Sequence[int],
    size_vox: Sequence[int],
    rng: np.random.Generator,
) -> Lesion:
    """The component of `copied` labels around a random voxel with the label `value` of a case."""
    table = case.locations[value]
    voxel = table[int(rng.integers(len(table)))]
    low = [max(int(v) - size // 2, 0) for v, size in zip(voxel, size_vox, strict=True)]
    high = [
        min(start + size, edge) for start, size, edge in zip(low, size_vox, case.shape, strict=True)
    ]
    image, labels = case.read(low, high)
    z, y, x = (int(v) - start for v, start in zip(voxel, low, strict=True))
    parts, _ = ndimage.label(np.isin(labels, copied))
    inside = parts == parts[z, y, x]
    return Lesion(image=image, labels=np.where(inside, labels, 0), anchor=(z, y, x))


def paste(
    case: PatchCase,
    lesion: Lesion,
    corner: Sequence[int],
    size: PatchSize,
    rng: np.random.Generator,
) -> PatchCase:
    """The case with the lesion at a random background voxel of the patch that `corner` begins.

    `corner` is that of what is read for a patch. The case as it is where there is no background.
    """
    first = [max(c + i, 0) for c, i in zip(corner, size.inset_vox, strict=True)]
    beyond = [
        min(c + i + n, edge)
        for c, i, n, edge in zip(corner, size.inset_vox, size.final_vox, case.shape, strict=True)
    ]
    _, labels = case.read(first, beyond)
    background = np.argwhere(labels == 0)
    if not len(background):
        return case
    place = background[int(rng.integers(len(background)))]
    z, y, x = (int(f + p - a) for f, p, a in zip(first, place, lesion.anchor, strict=True))
    return PastedCase(case, lesion, (z, y, x))


def _box(begin: Sequence[int], end: Sequence[int], origin: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a - o, b - o) for a, b, o in zip(begin, end, origin, strict=True))
