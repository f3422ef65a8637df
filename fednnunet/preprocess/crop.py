"""Crop to the nonzero box, and the mask of the voxels inside the patient."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

Box: TypeAlias = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

OUTSIDE = -1  # label of voxels outside the mask that have no other label


def nonzero_box(array: np.ndarray) -> Box:
    """The smallest box (z, y, x; half open) of the voxels that are nonzero in any channel.

    `array` is (c, z, y, x). An image without nonzero voxels gives the whole volume.
    """
    _, depth, height, width = array.shape
    rows = np.zeros((depth, height), bool)
    columns = np.zeros(width, bool)
    for z in range(depth):  # a slice at a time stays in the cache
        mask = _nonzero(array[:, z])
        rows[z] = mask.any(axis=1)
        columns |= mask.any(axis=0)
    if not columns.any():
        return ((0, depth), (0, height), (0, width))
    return (_extent(rows.max(axis=1)), _extent(rows.max(axis=0)), _extent(columns))


def crop(array: np.ndarray, box: Box) -> np.ndarray:
    """A view of the last three axes of `array` inside `box`."""
    (z0, z1), (y0, y1), (x0, x1) = box
    return array[..., z0:z1, y0:y1, x0:x1]


def inside_mask(array: np.ndarray) -> np.ndarray | None:
    """Nonzero voxels with their holes filled, for an `array` (c, z, y, x) cropped to its box.

    A zero voxel is outside if zeros connect it (by faces) to the surface of the box; this equals
    hole filling in the whole volume. Returns `None` if every voxel is inside.
    """
    zeros = np.empty(array.shape[1:], bool)
    for z in range(len(zeros)):
        np.logical_not(_nonzero(array[:, z]), out=zeros[z])
    surface = [zeros.take(end, axis) for axis in range(3) for end in (0, -1)]
    if not any(face.any() for face in surface):
        return None
    if zeros.all():
        return ~zeros
    outside = _flood(zeros)
    return ~outside if outside is not None else ~_connected_to_surface(zeros)


def _flood(zeros: np.ndarray, rounds: int = 12) -> np.ndarray | None:
    """Zeros connected to the surface, by region growing from it; `None` if the region is large.

    Fast if only a few voxels of the surface are zero, as in CT, where air is never exactly 0.
    """
    padded = np.pad(zeros, 1)
    flat = padded.ravel()
    steps = [side * stride for stride in padded.strides for side in (-1, 1)]  # bool: bytes = voxels
    faces = [_face(zeros, axis, end) for axis in range(3) for end in (0, -1)]
    front = np.ravel_multi_index(tuple(np.concatenate(faces).T + 1), padded.shape)
    outside = np.zeros_like(flat)
    for _ in range(rounds):
        flat[front] = False
        outside[front] = True
        if len(front) > flat.size // 50:
            return None
        front = np.unique(np.concatenate([front + step for step in steps]))
        front = front[flat[front]]
        if not len(front):
            return outside.reshape(padded.shape)[1:-1, 1:-1, 1:-1]
    return None


def _face(mask: np.ndarray, axis: int, end: int) -> np.ndarray:
    """Indices (n, 3) of the voxels of `mask` on one face of the box."""
    found = np.argwhere(mask.take(end, axis))
    return np.insert(found, axis, end % mask.shape[axis], axis=1)


def _connected_to_surface(zeros: np.ndarray) -> np.ndarray:
    """Zeros connected to the surface by faces, through connected components."""
    import cc3d

    parts = cc3d.connected_components(zeros, connectivity=6, binary_image=True)
    outside = np.zeros(int(parts.max()) + 1, bool)
    for axis in range(3):
        for end in (0, -1):
            outside[parts.take(end, axis)] = True
    outside[0] = False
    return outside[parts]


def mark_outside(label: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    """A copy of `label` (z, y, x), int16, where unlabelled voxels outside the mask are -1."""
    marked = label.astype(np.int16)
    if inside is not None:
        marked[(marked == 0) & ~inside] = OUTSIDE
    return marked


def _nonzero(channels: np.ndarray) -> np.ndarray:
    mask = channels[0] != 0
    for channel in channels[1:]:
        mask |= channel != 0
    return mask


def _extent(used: np.ndarray) -> tuple[int, int]:
    found = np.flatnonzero(used)
    return int(found[0]), int(found[-1]) + 1
