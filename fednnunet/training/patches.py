"""Where in a case a training patch lies, sampled by nnU-Net's rules, and reading it padded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fednnunet.task import Task

OUTSIDE = -1  # the label value beyond the volume and outside the patient
ANNOTATED = -1  # the class under which a store keeps known voxels, where others are not


class PatchCase(Protocol):
    """What patches need of a stored case; axes (z, y, x)."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels."""

    @property
    def channels(self) -> int:
        """Number of image channels."""

    @property
    def locations(self) -> Mapping[int, np.ndarray]:
        """Voxels (n, 3) of each class there is."""

    def read(self, low: Sequence[int], high: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Image (c, z, y, x) and labels (z, y, x) of a box, cut off at the edges."""


class PatchStore(Protocol):
    """What training needs of a store."""

    def case(self, name: str) -> PatchCase:
        """One case by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSize:
    """`final_vox` goes into the network, `read_vox` is read for rotations; both (z, y, x)."""

    final_vox: tuple[int, int, int]
    read_vox: tuple[int, int, int]

    @property
    def inset_vox(self) -> tuple[int, int, int]:
        """Where the final patch lies in what is read: in its middle."""
        pairs = zip(self.read_vox, self.final_vox, strict=True)
        z, y, x = (read // 2 - final // 2 for read, final in pairs)
        return z, y, x


def forced_foreground(batch: int, fraction: float) -> tuple[bool, ...]:
    """Which samples of a batch must show foreground: the last ones, rounded as nnU-Net does."""
    return tuple(index >= round(batch * (1 - fraction)) for index in range(batch))


def draw_corner(
    case: PatchCase,
    size: PatchSize,
    task: Task,
    *,
    forced: bool,
    rng: np.random.Generator,
    group: Sequence[int] = (),
) -> tuple[int, int, int]:
    """Lower corner (z, y, x) of the box to read, which may reach beyond the volume.

    A forced patch is centred on a voxel of the class (or region) `group`, or else of one chosen
    uniformly among those that the case has; its corner is clamped from below only. Others are
    uniform, reaching outside by up to half of what is read beyond the final patch. Where the case
    has voxels that are unknown or ignored, they are centred on one that is annotated.
    """
    lows, highs = [], []
    for edge, read, final in zip(case.shape, size.read_vox, size.final_vox, strict=True):
        pad = max(read - final, read - edge)
        lows.append(-(pad // 2) - pad % 2)
        highs.append(edge + pad // 2 + pad % 2 - read)
    groups = [group] if group else class_groups(task)
    centre = _foreground(case.locations, groups, rng) if forced else None
    if centre is None and ANNOTATED in case.locations:
        centre = _pick([case.locations[ANNOTATED]], rng)
    if centre is None:
        corner = [int(rng.integers(a, b + 1)) for a, b in zip(lows, highs, strict=True)]
    else:
        corner = [
            max(low, int(c) - read // 2)
            for low, c, read in zip(lows, centre, size.read_vox, strict=True)
        ]
    return corner[0], corner[1], corner[2]


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """A box of `size_vox` that may reach beyond the volume, and the part of it that lies inside.

    `image` float32 (c, z, y, x) and `labels` int16 (z, y, x) are that part, perhaps of no voxel and
    not to be changed; `start_vox` is where it begins in the box.
    """

    image: np.ndarray
    labels: np.ndarray
    start_vox: tuple[int, ...]
    size_vox: tuple[int, ...]

    def padded(self, axes: Sequence[int] = (0, 1, 2)) -> Box:
        """A new box that is whole along `axes`: beyond the volume are image 0 and labels -1."""
        size, start = list(self.labels.shape), [0, 0, 0]
        for axis in axes:
            size[axis], start[axis] = self.size_vox[axis], self.start_vox[axis]
        image = np.zeros((len(self.image), *size), np.float32)
        labels = np.full(size, OUTSIDE, np.int16)
        place = tuple(slice(s, s + n) for s, n in zip(start, self.labels.shape, strict=True))
        image[(slice(None), *place)] = self.image
        labels[place] = self.labels
        left = tuple(a - b for a, b in zip(self.start_vox, start, strict=True))
        return Box(image, labels, left, self.size_vox)


def read_box(case: PatchCase, corner: Sequence[int], size_vox: Sequence[int]) -> Box:
    """What of the box at `corner` lies in the case."""
    low = [min(max(c, 0), edge) for c, edge in zip(corner, case.shape, strict=True)]
    high = [
        min(max(c + n, 0), edge) for c, n, edge in zip(corner, size_vox, case.shape, strict=True)
    ]
    image, labels = case.read(low, high)
    start = tuple(a - c for a, c in zip(low, corner, strict=True))
    return Box(image, labels, start, tuple(size_vox))


def enlarged(patch_vox: Sequence[int], degrees: float) -> tuple[int, ...]:
    """Patch that still fills `patch_vox` after any rotation up to `degrees` and zoom by 0.85."""
    angle = math.radians(min(degrees, 90.0))
    cos, sin = math.cos(angle), math.sin(angle)
    if len(patch_vox) == 2:
        y, x = patch_vox
        wide = [max(y, abs(y * cos + x * sin)), max(x, abs(x * cos - y * sin))]
    else:
        z, y, x = patch_vox
        wide = [
            max(z, abs(z * cos - x * sin), abs(z * cos + y * sin)),
            max(y, abs(y * cos + x * sin), abs(y * cos - z * sin)),
            max(x, abs(x * cos - y * sin), abs(x * cos + z * sin)),
        ]
    return tuple(int(edge / 0.85) for edge in wide)


def class_groups(task: Task) -> Sequence[Sequence[int]]:
    """The label values of each class, or of each region of a task that has them."""
    return list(task.regions.values()) or [(value,) for value in range(1, len(task.labels))]


def _foreground(
    locations: Mapping[int, np.ndarray], groups: Sequence[Sequence[int]], rng: np.random.Generator
) -> np.ndarray | None:
    present = [
        tables
        for values in groups
        if (tables := [locations[v] for v in values if len(locations.get(v, ()))])
    ]
    if not present:
        return None
    return _pick(present[int(rng.integers(len(present)))], rng)


def _pick(tables: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray | None:
    """One row of all tables, each as likely; none where there is no row."""
    rows = sum(map(len, tables))
    row = int(rng.integers(rows)) if rows else 0
    for table in tables:
        if row < len(table):
            return np.asarray(table[row])
        row -= len(table)
    return None
