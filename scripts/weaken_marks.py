"""Weak and wrong labels from a full label map: what `weaken_labels.py` does to one case.

Every function is pure: arrays are (z, y, x) int16, all chance comes from `rng`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import interpolate, ndimage
from skimage.measure import find_contours

from fednnunet.errors import InputError

CONTROL_POINTS, DEGREE = 4, 2  # of the curve inside a class
BORDER_SHARE = (0.15, 1.0)  # of a contour that is drawn
BORDER_DEPTH_VOX = (1, 3)
_FULL = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The smallest box around one object: `low` is inside, `high` the first voxel beyond."""

    value: int
    low: tuple[int, int, int]
    high: tuple[int, int, int]


def scribble(
    label: np.ndarray, unmarked: int, rng: np.random.Generator, *, axis: int = 0
) -> np.ndarray:
    """Scribbles in every slice across `axis`; `unmarked` where nobody drew.

    ScribbleBench's protocol (Gotkowski et al., "Embarrassingly Simple Scribble Supervision for 3D
    Medical Segmentation", arXiv 2403.12834, 2024): in each slice and for each class, the background
    too, one connected part is chosen by its area. One curve (a quadratic B-spline of four control
    points) goes through its inside, another along 15 to 100 % of its contour, 1 to 3 voxels inside
    the border. Here both are one voxel wide (theirs three), since a small structure of few voxels
    would else be filled.
    """
    marked = np.full(label.shape, unmarked, np.int16)
    for index in range(label.shape[axis]):
        place: list[int | slice] = [slice(None)] * 3
        place[axis] = index
        plane, drawn = label[tuple(place)], marked[tuple(place)]
        for value in np.unique(plane):
            part = _chosen_part(plane == value, rng)
            drawn[_inner_curve(part, rng) | _border_curve(part, rng)] = value
    return marked


def points(
    label: np.ndarray, unmarked: int, rng: np.random.Generator, *, count: int = 5
) -> np.ndarray:
    """`count` voxels of every class, the background too (or all there are); else `unmarked`."""
    marked = np.full(label.size, unmarked, np.int16)
    for value in np.unique(label):
        places = np.flatnonzero(label == value)
        marked[rng.choice(places, min(count, places.size), replace=False)] = value
    return marked.reshape(label.shape)


def boxes(label: np.ndarray, values: Sequence[int]) -> tuple[Box, ...]:
    """A box around every object (26-connected) of each class."""
    found = []
    for value in values:
        objects, _ = ndimage.label(label == value, _FULL)
        for place in ndimage.find_objects(objects):
            low, high = zip(*((part.start, part.stop) for part in place), strict=True)
            found.append(Box(value=value, low=low, high=high))
    return tuple(found)


def erased(label: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """The map with every other class turned to background."""
    return np.where(np.isin(label, kept), label, 0).astype(np.int16)


def dilated(label: np.ndarray, rng: np.random.Generator, size_vox: int) -> np.ndarray:
    """Every class grown by `size_vox` voxels into the background; the nearest class wins."""
    if not label.any():
        return label.copy()
    distance, nearest = ndimage.distance_transform_edt(label == 0, return_indices=True)
    grown = label[tuple(nearest)]
    return np.where(distance <= size_vox, grown, 0).astype(np.int16)


def eroded(label: np.ndarray, rng: np.random.Generator, size_vox: int) -> np.ndarray:
    """The foreground shrunk by `size_vox` voxels; a class that would vanish stays as it is."""
    inside = np.pad(label > 0, 1)
    distance = ndimage.distance_transform_edt(inside)[1:-1, 1:-1, 1:-1]
    shrunk = np.where(distance > size_vox, label, 0).astype(np.int16)
    for value in np.setdiff1d(np.unique(label), np.unique(shrunk)):
        shrunk[label == value] = value
    return shrunk


def shifted(label: np.ndarray, rng: np.random.Generator, size_vox: int) -> np.ndarray:
    """The map moved by `size_vox` voxels along one axis; background comes in."""
    axis, sign = int(rng.integers(3)), int(rng.choice((-1, 1)))
    moved = np.roll(label, sign * size_vox, axis)
    gap = slice(0, size_vox) if sign > 0 else slice(max(label.shape[axis] - size_vox, 0), None)
    place = [slice(None)] * 3
    place[axis] = gap
    moved[tuple(place)] = 0
    return moved


def swapped(label: np.ndarray, rng: np.random.Generator, size_vox: int) -> np.ndarray:
    """Two classes that the case holds take each other's value."""
    present = [int(value) for value in np.unique(label) if value > 0]
    if len(present) < 2:
        raise InputError(
            "a case with fewer than two classes has no two to swap",
            mend="choose another --fault, or --keep this case",
        )
    first, second = sorted(rng.choice(present, 2, replace=False))
    turned = label.copy()
    turned[label == first], turned[label == second] = second, first
    return turned


FAULTS: dict[str, Callable[[np.ndarray, np.random.Generator, int], np.ndarray]] = {
    "dilated": dilated,
    "eroded": eroded,
    "shifted": shifted,
    "swapped": swapped,
}


def _chosen_part(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One 8-connected part of a plane's mask, larger ones more often."""
    parts, count = ndimage.label(mask, _FULL[0])
    if count == 1:
        return mask
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return parts == 1 + rng.choice(count, p=areas / areas.sum())


def _inner_curve(part: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The voxels of `part` on a clamped B-spline; its first control point is always one."""
    places = np.argwhere(part)
    control = places[rng.integers(len(places), size=CONTROL_POINTS)].astype(float)
    inner = np.linspace(0, 1, CONTROL_POINTS - DEGREE + 1)
    knots = np.concatenate([[0.0] * DEGREE, inner, [1.0] * DEGREE])
    steps = np.linspace(0, 1, 4 * sum(part.shape))
    return _drawn(interpolate.BSpline(knots, control, DEGREE)(steps), part)


def _border_curve(part: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Voxels along a share of a contour inside `part`; none where the part is too thin.

    The edge of the picture is no border.
    """
    depth = ndimage.distance_transform_edt(part)
    wanted = int(rng.integers(BORDER_DEPTH_VOX[0], BORDER_DEPTH_VOX[1] + 1))
    share, start, chosen = rng.uniform(*BORDER_SHARE), rng.random(), rng.random()
    for size in range(wanted, 0, -1):
        inside = depth > size
        lines = find_contours(inside.astype(float), 0.5)
        if not lines:
            continue
        lengths = np.cumsum([len(line) for line in lines])
        line = lines[int(np.searchsorted(lengths, chosen * lengths[-1], side="right"))]
        count, first = max(round(share * len(line)), 1), int(start * len(line))
        run = np.take(line, range(first, first + count), axis=0, mode="wrap")
        # Every point lies half way between a voxel inside and one outside.
        return _drawn(np.floor(run), inside) | _drawn(np.ceil(run), inside)
    return np.zeros_like(part)


def _drawn(curve: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The voxels of `part` that the points (n, 2) of a curve lie in."""
    y, x = np.rint(curve).astype(int).T
    inside = (y >= 0) & (x >= 0) & (y < part.shape[0]) & (x < part.shape[1])
    drawn = np.zeros_like(part)
    drawn[y[inside], x[inside]] = True
    return drawn & part
