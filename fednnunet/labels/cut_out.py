"""A box cut out of a patch: the strong augmentation of pseudo-labelled patches.

DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017;
in the strong augmentation of FixMatch (Sohn et al., NeurIPS 2020). What is cut out becomes 0, the
mean of normalised intensities. Geometry and labels stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOut:
    """A step of augmentation: with `chance` a box of up to `edge` of the patch, on each axis, is 0.

    Its edges are uniform from a quarter of that, and it lies wholly inside of the patch. It uses
    torch's global random generator, which the augmenter seeds for each patch.
    """

    chance: float
    edge: float

    def __call__(self, **values: Any) -> dict[str, Any]:
        """The values with `image` (c, *patch) changed, or as they were."""
        image = values["image"]
        if float(torch.rand(())) >= self.chance:
            return values
        box: list[slice] = []
        for size, (long, place) in zip(
            image.shape[1:], torch.rand(image.ndim - 1, 2).tolist(), strict=True
        ):
            edge = round(size * self.edge * (0.25 + 0.75 * long))
            start = round(place * (size - edge))
            box.append(slice(start, start + edge))
        image = image.clone()
        image[(slice(None), *box)] = 0
        return {**values, "image": image}
