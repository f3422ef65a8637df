"""The statistics that planning needs, as one flat vector of sums over cases.

A `CaseFingerprint` stays at its site. A `Fingerprint` is the sum over the cases of one site or of
all sites. Its length depends only on the task, and its bits do not depend on the order of
summation. A plain sum can contain the values of single cases (a histogram bin that one case fell
into); what a site releases is made by `minimum_counts.release_fingerprint`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from fednnunet.errors import DataError, ReplyError
from fednnunet.planning.histogram import COLUMNS, CROP_RATIO, SHAPE_BINS, SPACING_MM
from fednnunet.planning.label_volume import (
    COMPLETE,
    VOLUME_BINS,
    volume_place,
    volumes_ml,
)
from fednnunet.planning.orientation import ORIENTATIONS, orientation_place
from fednnunet.planning.sketch import FOREGROUND_COLUMNS, INTENSITY_BINS, ForegroundSketch
from fednnunet.task import Task

AXES = ("z", "y", "x")
DESCRIPTION = (  # for the person who decides whether a fingerprint may leave the site
    "sums over all cases: histograms of spacing, shape, crop ratio, orientation and foreground "
    "intensity, numbers of cases, label kinds, voxels and volumes per label. From min_bin_count 2 "
    "on, each histogram entry stands for at least that many cases, at a common rounded value; in "
    "exact mode (min_bin_count 1) an entry can be the value of a single case"
)
LABEL_KINDS = ("full", "partial", "scribble", "point", "box", "image", "none", "pseudo")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFingerprint:
    """Statistics of one case after cropping to its nonzero box. It stays at the site.

    `shape_vox` (z, y, x) is the shape after the crop and `crop_ratio` the cropped share of the
    volume. Spacing and shape are along the patient's axes (z is inferior to superior, as in
    "RAS"), however the volume is stored; without a known orientation, as stored. `foreground`
    holds one sketch per channel, `voxels_per_label` one count per label of the task, background
    first (all zero for a case without a label map). `orientation` is the axis code of the stored
    volume (one of `ORIENTATIONS`, e.g. "RAS"), empty if unknown; `kind` says what the labels are
    (one of `LABEL_KINDS`), and `annotated` which classes they say something of (label values; None
    for all).
    """

    spacing_mm: tuple[float, float, float]
    shape_vox: tuple[int, int, int]
    crop_ratio: float
    foreground: tuple[ForegroundSketch, ...]
    voxels_per_label: tuple[int, ...]
    orientation: str = ""
    kind: str = "full"
    annotated: tuple[int, ...] | None = None

    def says_of(self, value: int) -> bool:
        """Whether the labels say something of a class; of the background (0) they always do."""
        return value == 0 or self.annotated is None or value in self.annotated


@dataclass(frozen=True, slots=True)
class Layout:
    """The place of each block of sums in the vector: name, shape, first index."""

    blocks: dict[str, tuple[tuple[int, ...], int]]
    length: int

    @classmethod
    def of(cls, task: Task) -> Layout:
        """The layout for a task; it depends only on the numbers of labels and channels."""
        return _layout(len(task.labels), len(task.channels))


@cache
def _layout(labels: int, channels: int) -> Layout:
    shapes: dict[str, tuple[int, ...]] = {
        "cases": (1,),
        "cases_with_foreground": (1,),
        "cases_per_label": (labels,),
        "voxels_per_label": (labels,),
        "volume_per_label": (labels, VOLUME_BINS),
        "label_kinds": (len(LABEL_KINDS), labels),
        "orientation": (len(ORIENTATIONS) + 1,),
        "crop_ratio": (COLUMNS, CROP_RATIO.bins),
    }
    shapes |= {f"spacing_{axis}": (COLUMNS, SPACING_MM.bins) for axis in AXES}
    shapes |= {f"shape_{axis}": (SHAPE_BINS,) for axis in AXES}
    for channel in range(channels):
        shapes[f"foreground_{channel}"] = (FOREGROUND_COLUMNS, INTENSITY_BINS)
    blocks, place = {}, 0
    for name, shape in shapes.items():
        blocks[name] = (shape, place)
        place += math.prod(shape)
    return Layout(blocks, place)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprint:
    """Sums over cases: `vector` (n,) float64 holds all of them, `block` gives one by its name."""

    task: Task
    vector: np.ndarray

    @classmethod
    def empty(cls, task: Task) -> Fingerprint:
        """The sum over no cases."""
        return cls(task=task, vector=np.zeros(Layout.of(task).length))

    @classmethod
    def of(cls, task: Task, cases: Iterable[CaseFingerprint]) -> Fingerprint:
        """Sum over `cases`; raises DataError for a case that does not belong to the task."""
        total = cls.empty(task)
        blocks = {name: total.block(name) for name in Layout.of(task).blocks}
        for case in cases:
            _add_case(blocks, task, case)
        return total

    def __add__(self, other: Fingerprint) -> Fingerprint:
        _same_kind(self.task, other.task)
        return Fingerprint(task=self.task, vector=self.vector + other.vector)

    def block(self, name: str) -> np.ndarray:
        """A view of one part of the sums, e.g. `spacing_z` (5, bins), `cases` (1,).

        `label_kinds` (kinds, labels) counts, for each label, the cases annotated in each way, and
        for the background all cases of a kind;
        `orientation` (49,) the cases of each axis code, those of unknown orientation last.
        """
        shape, place = Layout.of(self.task).blocks[name]
        return self.vector[place : place + math.prod(shape)].reshape(shape)

    def in_order(self, axes: tuple[int, int, int]) -> Fingerprint:
        """A copy whose axes (z, y, x) are the `axes` of this one."""
        turned = Fingerprint(task=self.task, vector=self.vector.copy())
        for name, axis in zip(AXES, axes, strict=True):
            for block in ("spacing", "shape"):
                turned.block(f"{block}_{name}")[:] = self.block(f"{block}_{AXES[axis]}")
        return turned

    @property
    def cases(self) -> int:
        """Number of cases summed."""
        return int(self.block("cases")[0])

    def label_cases(self) -> dict[str, int]:
        """For each label, the number of cases in which it occurs."""
        counts = self.block("cases_per_label")
        return {name: int(n) for name, n in zip(self.task.labels, counts, strict=True)}

    def annotated_cases(self) -> dict[str, int]:
        """For each label but the background, the number of cases whose labels say something of it,
        whether it occurs or not."""
        counts = self.block("label_kinds").sum(axis=0)[1:]
        return {name: int(n) for name, n in zip(self.task.labels[1:], counts, strict=True)}

    def to_vector(self) -> np.ndarray:
        """A copy of the sums, (n,) float64; its length does not depend on the number of cases."""
        return self.vector.copy()

    @classmethod
    def from_vector(cls, task: Task, vector: np.ndarray, *, site: str = "") -> Fingerprint:
        """The fingerprint over `vector`, which is not copied.

        Raises ReplyError, naming the site, for another length.
        """
        expected = Layout.of(task).length
        if vector.shape != (expected,):
            raise ReplyError(
                f"the fingerprint has shape {vector.shape} and not ({expected},): another schema, "
                "other bins, channels or labels",
                where=f"site {site}" if site else "",
                mend="give every site the same version of the program and the same task",
            )
        return cls(task=task, vector=vector.astype(np.float64, copy=False))


def _same_kind(a: Task, b: Task) -> None:
    if (a.channels, a.labels) != (b.channels, b.labels):
        raise ReplyError(
            f"fingerprints of different tasks cannot be summed: {a.name} and {b.name}",
            mend="give every site the same federation file",
        )


def check_shape(shape_vox: Iterable[int]) -> None:
    """Raise DataError for a shape that the histograms cannot hold."""
    largest = max(shape_vox)
    if largest >= SHAPE_BINS:
        raise DataError(
            f"a volume is {largest} voxels long, more than {SHAPE_BINS - 1}",
            mend="split the volume or lower its resolution",
        )


def largest_volume(fingerprint: Fingerprint) -> float:
    """The most voxels that all cases together can have, given the histograms of their shapes.

    The sum of products of edges is largest if long edges belong to the same case.
    """
    edges = [np.flatnonzero(fingerprint.block(f"shape_{axis}")) for axis in AXES]
    counts = [fingerprint.block(f"shape_{a}")[e] for a, e in zip(AXES, edges, strict=True)]
    cuts = np.unique(np.concatenate([np.cumsum(count) for count in counts]))
    volume = np.diff(cuts, prepend=0.0)
    for edge, count in zip(edges, counts, strict=True):
        place = np.searchsorted(np.cumsum(count), cuts)
        volume = volume * edge[np.minimum(place, len(edge) - 1)]
    return float(volume.sum())


def check_case(task: Task, case: CaseFingerprint) -> None:
    """Raise DataError for a case that does not belong to the task, or cannot be counted."""
    check_shape(case.shape_vox)
    channels, labels = len(case.foreground), len(case.voxels_per_label)
    if channels != len(task.channels) or labels != len(task.labels):
        raise DataError(
            f"a case has {channels} channels and {labels} labels, the task has "
            f"{len(task.channels)} and {len(task.labels)}",
            mend="measure the case again with this task",
        )
    if not all(0 < s < float("inf") for s in case.spacing_mm):
        raise DataError(
            f"a case has the spacing {case.spacing_mm}",
            mend="correct the voxel size in the header of its image",
        )
    if case.kind not in LABEL_KINDS or case.orientation not in ("", *ORIENTATIONS):
        raise DataError(
            f"a case has labels of kind {case.kind!r} and orientation {case.orientation!r}",
            mend=f"kinds are {', '.join(LABEL_KINDS)}; orientations are axis codes such as RAS",
        )


def _add_case(blocks: dict[str, np.ndarray], task: Task, case: CaseFingerprint) -> None:
    check_case(task, case)
    for axis, spacing, size in zip(AXES, case.spacing_mm, case.shape_vox, strict=True):
        SPACING_MM.add(blocks[f"spacing_{axis}"], spacing)
        blocks[f"shape_{axis}"][size] += 1
    CROP_RATIO.add(blocks["crop_ratio"], case.crop_ratio)
    voxels = np.asarray(case.voxels_per_label, np.float64)
    for value, volume in enumerate(volumes_ml(case.spacing_mm, case.voxels_per_label)):
        if value and volume and case.kind in COMPLETE:
            blocks["volume_per_label"][value, volume_place(volume)] += 1
    blocks["cases"] += 1
    blocks["voxels_per_label"] += voxels
    blocks["cases_per_label"] += voxels > 0
    said = [case.says_of(value) for value in range(len(task.labels))]
    blocks["label_kinds"][LABEL_KINDS.index(case.kind)] += said
    blocks["orientation"][orientation_place(case.orientation)] += 1
    blocks["cases_with_foreground"] += not all(sketch.empty for sketch in case.foreground)
    for channel, sketch in enumerate(case.foreground):
        sketch.add_to(blocks[f"foreground_{channel}"])
