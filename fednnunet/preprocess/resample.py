"""Resampling of images, labels and logits to a spacing, by nnU-Net's conventions.

Voxel centres keep their relative place, edges repeat, nothing is smoothed. Images: cubic spline;
labels: linear on each label's indicator, the largest wins; a thick axis, where spacing differs
by more than a factor, is not interpolated but takes the nearest slice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fednnunet.planning.plan import Resampling
from fednnunet.preprocess.weights import apply_depth, apply_rows, bands, nearest

_SLAB_VOX = 1 << 23  # voxels of a label map that are resampled at once
_TIE = np.float32(1e-5)  # advantage of the nearest label, which settles ties


def new_shape(
    shape: Sequence[int], spacing_mm: Sequence[float], target_mm: Sequence[float]
) -> tuple[int, int, int]:
    """The number of voxels (z, y, x) that a volume has at another spacing."""
    z, y, x = (round(s / t * n) for s, t, n in zip(spacing_mm, target_mm, shape, strict=True))
    return (max(z, 1), max(y, 1), max(x, 1))


def thick_axis(
    spacing_mm: Sequence[float], target_mm: Sequence[float], anisotropy: float = 3.0
) -> int | None:
    """The axis that is not interpolated, judged by the current spacing and then by the target."""
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
    """Resample `array` (c, z, y, x) to `shape` (z, y, x) as float32; no copy if it has it.

    Values never leave the range of the input (of the slice, where the thick axis stands apart).
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
        return _labels_3d(label, shape, rules.label_order)
    moved = np.moveaxis(label, axis, 0)
    depth, rows, columns = (shape[axis], *(n for i, n in enumerate(shape) if i != axis))
    picked, where = np.unique(nearest(len(moved), depth), return_inverse=True)
    slices = np.stack(
        [_labels_2d(moved[index], rows, columns, rules.label_order) for index in picked]
    )
    return np.ascontiguousarray(np.moveaxis(slices[where], 0, axis))


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
            moved = np.moveaxis(source, axis, 0)
            _resize_thick(moved, np.moveaxis(result, axis, 0), order, thick_order, clip=clip)
    return out


def _resize(source: np.ndarray, out: np.ndarray, order: int, *, clip: bool) -> None:
    """Resize (z, y, x) into `out` along all axes: slice by slice, then along z by blocks of y."""
    depth, rows, columns = out.shape
    plane = np.empty((len(source), rows, columns), np.float32)
    for z, image in enumerate(source):
        plane[z] = apply_rows(np.ascontiguousarray(image), rows, columns, order)
    if len(source) == depth:
        out[:] = plane
    else:
        block = max(1, (1 << 21) // max(len(source) * columns, 1))
        for start in range(0, rows, block):
            part = np.ascontiguousarray(plane[:, start : start + block])
            out[:, start : start + block] = apply_depth(part, depth, order)
    if clip:
        np.clip(out, source.min(), source.max(), out=out)


def _resize_thick(
    source: np.ndarray, out: np.ndarray, order: int, thick_order: int, *, clip: bool
) -> None:
    """Resize (thick, b, c) into `out`: only the slices that the thick axis takes are resized."""
    if thick_order != 0:
        plane = np.empty((len(source), *out.shape[1:]), np.float32)
        for z, image in enumerate(source):
            plane[z] = _clipped_slice(image, out.shape[1:], order, clip=clip)
        out[:] = apply_depth(plane, len(out), thick_order)
        return
    last, resized = -1, np.empty(0)
    for z, index in enumerate(nearest(len(source), len(out))):
        if index != last:
            resized = _clipped_slice(source[index], out.shape[1:], order, clip=clip)
            last = index
        out[z] = resized


def _clipped_slice(
    image: np.ndarray, shape: Sequence[int], order: int, *, clip: bool
) -> np.ndarray:
    image = np.ascontiguousarray(image)
    resized = apply_rows(image, shape[0], shape[1], order)
    if clip and resized is not image:
        np.clip(resized, image.min(), image.max(), out=resized)
    return resized


def _labels_3d(label: np.ndarray, shape: Sequence[int], order: int) -> np.ndarray:
    """Resize a label map a slab of output slices at a time, which bounds the memory."""
    depth, rows, columns = shape
    out = np.empty((depth, rows, columns), label.dtype)
    old = len(label)
    step = max(1, _SLAB_VOX // max(rows * columns, 1))
    picks = nearest(old, depth)
    for start in range(0, depth, step):
        stop = min(start + step, depth)
        weights = _rows_of(old, depth, order, start, stop)
        used = np.flatnonzero(weights.any(axis=0))
        slab = slice(int(used[0]), int(used[-1]) + 1)
        within = picks[start:stop] - slab.start
        _label_slab(label[slab], weights[:, slab], within, order, out[start:stop])
    return out


def _rows_of(old: int, new: int, order: int, start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` of the weight matrix (new, old), as float32."""
    matrix = np.zeros((stop - start, old), np.float32)
    for band in bands(old, new, order):
        low, high = max(band.out.start, start), min(band.out.stop, stop)
        if low < high:
            part = band.weights[low - band.out.start : high - band.out.start]
            matrix[low - start : high - start, band.into] = part
    return matrix


def _label_slab(
    label: np.ndarray, weights: np.ndarray, picks: np.ndarray, order: int, out: np.ndarray
) -> None:
    """Write into `out` the winning label of each voxel; `weights` (new, old) is for the first axis.

    The scores of all labels add up to one, so the commonest label needs none of its own.
    """
    values, counts = np.unique(label, return_counts=True)
    if len(values) == 1:
        out[:] = values[0]
        return
    _, rows, columns = out.shape
    near = label[picks][:, nearest(label.shape[1], rows)][:, :, nearest(label.shape[2], columns)]
    common = values[counts.argmax()]
    rest = np.ones(out.shape, np.float32)
    best = np.zeros(out.shape, np.float32)
    out[:] = common
    for value in values:
        if value == common:
            continue
        score = np.tensordot(weights, _planes(label == value, rows, columns, order), axes=1)
        rest -= score
        score += _TIE * (near == value)
        better = score > best
        np.copyto(best, score, where=better)
        out[better] = value
    rest += _TIE * (near == common)
    out[rest > best] = common


def _labels_2d(label: np.ndarray, rows: int, columns: int, order: int) -> np.ndarray:
    """Resize one slice of a label map."""
    out = np.empty((1, rows, columns), label.dtype)
    _label_slab(label[None], np.ones((1, 1), np.float32), np.zeros(1, np.intp), order, out)
    return out[0]


def _planes(mask: np.ndarray, rows: int, columns: int, order: int) -> np.ndarray:
    """Resize every slice of a mask (z, y, x) as float32 (z, rows, columns)."""
    out = np.zeros((len(mask), rows, columns), np.float32)
    for z, image in enumerate(mask):
        if image.any():
            out[z] = apply_rows(image.astype(np.float32), rows, columns, order)
    return out
