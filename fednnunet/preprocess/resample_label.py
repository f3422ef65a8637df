"""Resize label maps: each label's indicator is interpolated and the largest value wins.

Only the boxes that contain structures are processed, a few slices and one label at a time, so that
time and memory depend on the size of the structures and not on that of the volume.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fednnunet.preprocess.weights import Axis, Band, axis, nearest, resize_first, resize_plane

_TIE = np.float32(1e-5)  # added to the label of the nearest voxel, to break ties
_Span = tuple[slice, slice, slice]


def resize_label(label: np.ndarray, shape: Sequence[int], order: int) -> np.ndarray:
    """Resize a label map (z, y, x) along all axes; values may be negative."""
    depth, rows, columns = (axis(a, b, order) for a, b in zip(label.shape, shape, strict=True))
    picks = [nearest(a, b) for a, b in zip(label.shape, shape, strict=True)]
    out = np.empty(tuple(shape), label.dtype)
    for band in depth.bands or _single_slices(len(label)):
        slab = Axis(band.weights.shape[1], band.weights.shape[0], (_at_origin(band),))
        if band.weights.size == 1:
            slab = Axis(1, 1, ())
        within = [picks[0][band.out] - band.into.start, *picks[1:]]
        _Slab(label[band.into], (slab, rows, columns), within).resize(out[band.out])
    return out


def resize_label_thick(
    label: np.ndarray, shape: Sequence[int], thick: int, order: int
) -> np.ndarray:
    """Resize each slice across the axis `thick`, along which the nearest slice is taken."""
    thick_first = np.moveaxis(label, thick, 0)
    planar = (1, *(n for i, n in enumerate(shape) if i != thick))
    picked, where = np.unique(nearest(len(thick_first), shape[thick]), return_inverse=True)
    slices = [
        resize_label(np.ascontiguousarray(thick_first[i])[None], planar, order) for i in picked
    ]
    return np.ascontiguousarray(np.moveaxis(np.concatenate(slices)[where], 0, thick))


def _single_slices(count: int) -> list[Band]:
    """One band per slice, for an axis that is not resized."""
    one = np.ones((1, 1), np.float32)
    return [Band(slice(z, z + 1), slice(z, z + 1), one) for z in range(count)]


def _at_origin(band: Band) -> Band:
    rows, columns = band.weights.shape
    return Band(slice(0, rows), slice(0, columns), band.weights)


class _Slab:
    """A few slices of a label map, with the resampling of each axis."""

    def __init__(
        self, label: np.ndarray, axes: tuple[Axis, Axis, Axis], picks: Sequence[np.ndarray]
    ) -> None:
        self.label, self.axes, self.picks = label, axes, picks

    def resize(self, out: np.ndarray) -> None:
        """Write the label with the largest score of each voxel into `out`.

        The scores of all labels sum to one, so the score of the most extended label follows from
        the others.
        """
        low, high = int(self.label.min()), int(self.label.max())
        out[:] = low
        if low == high:
            return
        boxes = _boxes(self.label, low)
        widest = max(boxes, key=lambda value: _size(boxes[value]))
        del boxes[widest]
        out[:] = widest
        reach = self._union([self._reach(box) for box in boxes.values()])
        target = out[reach]
        best = np.zeros(target.shape, np.float32)
        rest = np.ones(target.shape, np.float32)
        near = self.label[np.ix_(*(p[r] for p, r in zip(self.picks, reach, strict=True)))]
        for value, box in boxes.items():
            score, place = self._score(value, box)
            at = tuple(
                slice(p.start - r.start, p.stop - r.start)
                for p, r in zip(place, reach, strict=True)
            )
            rest[at] -= score
            score += _TIE * (near[at] == value)
            better = score > best[at]
            np.copyto(best[at], score, where=better)
            target[at][better] = value
        rest += _TIE * (near == widest)
        target[rest > best] = widest

    def _score(self, value: int, box: _Span) -> tuple[np.ndarray, _Span]:
        """The interpolated indicator of a label, and its place in the output."""
        (depth, z, at_z), (rows, y, at_y), (columns, x, at_x) = (
            a.part(s.start, s.stop) for a, s in zip(self.axes, box, strict=True)
        )
        mask = self.label[z, y, x] == value
        planes = np.empty((len(mask), rows.new, columns.new), np.float32)
        for image, plane in zip(mask, planes, strict=True):
            plane[:] = resize_plane(image.astype(np.float32), rows, columns)
        return resize_first(planes, depth), (at_z, at_y, at_x)

    def _reach(self, box: _Span) -> _Span:
        z, y, x = (a.part(s.start, s.stop)[2] for a, s in zip(self.axes, box, strict=True))
        return z, y, x

    @staticmethod
    def _union(spans: Sequence[_Span]) -> _Span:
        z, y, x = (
            slice(min(s[i].start for s in spans), max(s[i].stop for s in spans)) for i in range(3)
        )
        return z, y, x


def _boxes(label: np.ndarray, low: int) -> dict[int, _Span]:
    """The bounding box of every value in a label map."""
    from scipy.ndimage import find_objects

    found = find_objects(label.astype(np.int32) - (low - 1))
    return {low + i: box for i, box in enumerate(found) if box is not None}


def _size(box: _Span) -> int:
    return int(np.prod([s.stop - s.start for s in box]))
