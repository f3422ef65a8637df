"""Labels grow into the voxels between them by a random walk on the image.

Grady, "Random Walks for Image Segmentation", IEEE TPAMI 2006; on scribbles as in Ji et al.,
"Scribble-Based Hierarchical Weakly Supervised Learning for Brain Tumor Segmentation", MICCAI 2019.
Seeds are what is known and the pseudo-labels that passed the tests. A voxel without a label takes
the one whose seeds a walker from there reaches first with at least the given probability. The walk
crosses edges of the first channel's intensities reluctantly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fednnunet.labels.known import certain_labels
from fednnunet.labels.refinement import Guess
from fednnunet.supervision import UNKNOWN

_BETA = 130  # skimage's default: how reluctantly the walk crosses an edge


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomWalker:
    """A label is taken where the walk is so sure: `probability` from 0 to 1."""

    probability: float

    def __call__(self, guess: Guess) -> Tensor:
        """The labels with voxels added; those that there are stay."""
        certain = certain_labels(guess.possible)
        seeds = torch.where(certain != UNKNOWN, certain, guess.labels).cpu().numpy()
        images = guess.image[:, 0].float().cpu().numpy()
        grown = [self._grow(*pair) for pair in zip(images, seeds, strict=True)]
        return torch.from_numpy(np.stack(grown)).to(guess.labels.device)

    def _grow(self, image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        from skimage.segmentation import random_walker

        values = np.unique(seeds[seeds != UNKNOWN])
        if len(values) < 2 or not (seeds == UNKNOWN).any():
            return seeds
        markers = np.zeros(seeds.shape, np.int32)
        for number, value in enumerate(values, start=1):
            markers[seeds == value] = number
        chances = random_walker(image, markers, beta=_BETA, mode="cg_j", return_full_prob=True)
        sure = (seeds == UNKNOWN) & (chances.max(0) >= self.probability)
        return np.where(sure, values[chances.argmax(0)], seeds).astype(seeds.dtype)
