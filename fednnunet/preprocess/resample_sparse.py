"""Resampling of label maps that interpolation would spoil: thin marks, and boxes as bits.

Both take the nearest voxel. Where voxels grow, most voxels of the finer grid are then left out; a
mark or a small box among them would be lost, so these are put into the voxel that they lie in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fednnunet.preprocess.weights import nearest
from fednnunet.supervision import MAX_BOX_CLASSES, UNKNOWN


def resample_marks(label: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resize a map of marks (z, y, x), int16 with `UNKNOWN` elsewhere, to `shape`.

    A voxel takes the value of most of the marks whose centres lie in it, the highest of several;
    without any it takes the nearest voxel's.
    """
    out = _nearest(label, shape)
    if label.shape == tuple(shape):
        return out
    marked = np.argwhere(label != UNKNOWN)
    values = label[tuple(marked.T)].astype(np.int64)
    place = np.ravel_multi_index(_places(marked, label.shape, shape), tuple(shape))
    pairs, votes = np.unique(np.stack([place, values]), axis=1, return_counts=True)
    best = np.lexsort((pairs[1], votes, pairs[0]))  # the last of a voxel has most votes
    places, winners = pairs[:, best]
    last = np.append(places[1:] != places[:-1], True) if len(places) else np.zeros(0, bool)
    out.ravel()[places[last]] = winners[last]
    return out


def resample_bits(bits: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resize a map of boxes as bits (z, y, x), int16, to `shape`.

    Every bit is taken from the nearest voxel. Where a slice of the boxes' voxels is left out, the
    edges move by less than a voxel; a class of which no voxel would be left keeps those that its
    boxes lie in.
    """
    out = _nearest(bits, shape)
    for bit in (1 << place for place in range(MAX_BOX_CLASSES)):
        if not (out & bit).any() and len(found := np.argwhere(bits & bit)):
            out[_places(found, bits.shape, shape)] |= np.int16(bit)
    return out


def _nearest(label: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    z, y, x = (nearest(old, new) for old, new in zip(label.shape, shape, strict=True))
    return np.ascontiguousarray(label[np.ix_(z, y, x)])


def _places(
    voxels: np.ndarray, old: Sequence[int], new: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The new voxels that the centres of old ones (n, 3) lie in, as indices (z, y, x)."""
    z, y, x = (
        ((2 * index + 1) * b // (2 * a)).astype(np.intp)
        for index, a, b in zip(voxels.T, old, new, strict=True)
    )
    return z, y, x
