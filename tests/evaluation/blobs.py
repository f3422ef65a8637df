"""Random masks with rough surfaces."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SPACING = (3.0, 0.7, 1.1)


def blobs(seed: int, shape: tuple[int, int, int] = (9, 14, 12)) -> np.ndarray:
    """A bool mask (z, y, x) with a fifth of all voxels."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return noise > np.quantile(noise, 0.8)
