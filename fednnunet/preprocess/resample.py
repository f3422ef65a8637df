"""Resampling of images, labels and logits to a spacing, by nnU-Net's conventions.

Voxel centres keep their relative position, edge values are repeated, and there is no smoothing.
Images are resampled by cubic splines; labels linearly by each label's indicator, with the largest
value winning. A thick axis (spacing larger than the finest by a factor) takes the nearest slice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fednnunet.planning.plan import Resampling
from fednnunet.preprocess.resample_label import resize_label, resize_label_thick
from fednnunet.preprocess.weights import axis as axis_of
from fednnunet.preprocess.weights import nearest, resize_first, resize_plane

_BLOCK = 1 << 21  # voxels that are resized along the first axis at once


def new_shape(
    shape: Sequence[int], spacing_mm: Sequence[float], target_mm: Sequence[float]
) -> tuple[int, int, int]:
    """The number of voxels (z, y, x) that a volume has at another spacing."""
    z, y, x = (round(s / t * n) for s, t, n in zip(spacing_mm, target_mm, shape, strict=True))
    return (max(z, 1), max(y, 1), max(x, 1))


def thick_axis(
    spacing_mm: Sequence[float], target_mm: Sequence[float], anisotropy: float = 3.0
) -> int | None:
    """The axis that is not interpolated: by the current spacing, or else by the target spacing."""
    for spacing in (spacing_mm, target_mm):
        if max(spacing) / min(spacing) > anisotropy:
            largest = [axis for axis in range(3) if max(spacing) / spacing[axis] == 1]
            return largest[0] if len(largest) == 1 else None
    return None


def resample_image(
    array: np.ndarray,
    spacing_mm: Sequence[float],
    target_mm: Sequence[float],
    shape: Sequence[int],
    *,
    resampling: Resampling | None = None,
) -> np.ndarray:
    """Resample `array` (c, z, y, x) to `shape` (z, y, x) as float32; not copied if already so.

    Values are clipped to the range of the input (of each slice, if there is a thick axis).
    """
    rules = resampling or Resampling()
    axis = thick_axis(spacing_mm, target_mm, rules.anisotropy)
    return _each_channel(array, shape, axis, rules.image_order, rules.thick_axis_order, clip=True)


def resample_logits(
    logits: np.ndarray,
    spacing_mm: Sequence[float],
    target_mm: Sequence[float],
    shape: Sequence[int],
    *,
    order: int = 1,
    thick_axis_order: int = 0,
    anisotropy: float = 3.0,
) -> np.ndarray:
    """Resample `logits` (k, z, y, x) from their spacing to `target_mm`, `shape` (z, y, x)."""
    axis = thick_axis(spacing_mm, target_mm, anisotropy)
    return _each_channel(logits, shape, axis, order, thick_axis_order, clip=order > 1)


def resample_labels(
    label: np.ndarray,
    spacing_mm: Sequence[float],
    target_mm: Sequence[float],
    shape: Sequence[int],
    *,
    resampling: Resampling | None = None,
) -> np.ndarray:
    """Resample a label map (z, y, x) to `shape`; every value, -1 too, is a label of its own."""
    rules = resampling or Resampling()
    shape = tuple(shape)
    if label.shape == shape:
        return label
    axis = thick_axis(spacing_mm, target_mm, rules.anisotropy)
    if axis is None:
        return resize_label(label, shape, rules.label_order)
    return resize_label_thick(label, shape, axis, rules.label_order)


def _each_channel(
    array: np.ndarray,
    shape: Sequence[int],
    axis: int | None,
    order: int,
    thick_order: int,
    *,
    clip: bool,
) -> np.ndarray:
    array = array.astype(np.float32, copy=False)
    if array.shape[1:] == tuple(shape):
        return array
    out = np.empty((len(array), *shape), np.float32)
    for source, result in zip(array, out, strict=True):
        if axis is None:
            _resize(source, result, order, clip=clip)
        else:
            thick_first = np.moveaxis(source, axis, 0)
            _resize_thick(thick_first, np.moveaxis(result, axis, 0), order, thick_order, clip=clip)
    return out


def _resize(source: np.ndarray, out: np.ndarray, order: int, *, clip: bool) -> None:
    """Resize (z, y, x) into `out` along all axes: slice by slice, then along z by blocks of y."""
    old = source.shape
    axes = [axis_of(a, b, order) for a, b in zip(old, out.shape, strict=True)]
    plane = out if not axes[0].bands else np.empty((old[0], *out.shape[1:]), np.float32)
    for z, image in enumerate(source):
        plane[z] = resize_plane(np.ascontiguousarray(image), axes[1], axes[2])
    if axes[0].bands:
        step = max(1, _BLOCK // (old[0] * out.shape[2]))
        for start in range(0, out.shape[1], step):
            part = np.ascontiguousarray(plane[:, start : start + step])
            out[:, start : start + step] = resize_first(part, axes[0])
    if clip:
        np.clip(out, source.min(), source.max(), out=out)


def _resize_thick(
    source: np.ndarray, out: np.ndarray, order: int, thick_order: int, *, clip: bool
) -> None:
    """Resize (thick, b, c) into `out`; of the thick axis, only the slices in use are resized."""
    if thick_order != 0:
        plane = np.stack([_slice(image, out.shape[1:], order, clip=clip) for image in source])
        out[:] = resize_first(plane, axis_of(len(source), len(out), thick_order))
        return
    last, resized = -1, np.empty(0)
    for z, index in enumerate(nearest(len(source), len(out))):
        if index != last:
            resized = _slice(source[index], out.shape[1:], order, clip=clip)
            last = index
        out[z] = resized


def _slice(image: np.ndarray, shape: Sequence[int], order: int, *, clip: bool) -> np.ndarray:
    image = np.ascontiguousarray(image)
    rows, columns = (axis_of(a, b, order) for a, b in zip(image.shape, shape, strict=True))
    resized = resize_plane(image, rows, columns)
    if clip and resized is not image:
        np.clip(resized, image.min(), image.max(), out=resized)
    return resized
