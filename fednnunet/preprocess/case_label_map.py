"""The loaded label map of a case by the kind of its labels, and how its files contradict it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fednnunet.case_labels import CaseLabels, LabelBox
from fednnunet.dataset import Case
from fednnunet.errors import DataError
from fednnunet.preprocess.boxes import box_map, filled_map, is_inside, voxels_of
from fednnunet.supervision import SPARSE, UNKNOWN, WITHOUT_MAP
from fednnunet.task import Task
from fednnunet.volume import Volume

_COMPLETE = frozenset({"full", "partial", "box", "pseudo"})  # a class not in the map is not there


def label_map(
    case: Case, task: Task, volume: Volume, stored: np.ndarray | None
) -> np.ndarray | None:
    """The loaded map, int16 (z, y, x), of a case without faults, as `fednnunet.supervision` says.

    `stored` is the map in its file. None for a case whose map is missing.
    """
    labels = case.labels
    kind = labels.supervision.kind
    if kind in WITHOUT_MAP:
        return np.full(volume.shape_vox, UNKNOWN, np.int16)
    if labels.boxes is not None:
        return box_map(labels.boxes, volume)
    if stored is None or kind in ("full", "partial"):
        return stored
    if kind == "box":
        return filled_map(stored, len(task.labels) - 1)
    unmarked = unmarked_value(labels, task)
    if unmarked is not None:
        stored = stored.copy()
        stored[stored == unmarked] = UNKNOWN
    return stored


def unmarked_value(labels: CaseLabels, task: Task) -> int | None:
    """The value in the file of voxels that nobody marked; None where every voxel is marked."""
    if labels.supervision.kind not in SPARSE:
        return None
    return task.ignore if labels.unmarked is None else labels.unmarked


def map_faults(case: Case, task: Task, counts: dict[int, int]) -> Iterator[DataError]:
    """What contradicts the kind of labels in a map with these numbers of voxels per value."""
    annotated = case.labels.supervision.classes(task)
    for value, count in sorted(counts.items()):
        if 0 < value < len(task.labels) and value not in annotated:
            yield DataError(
                f"case {case.name} has label {value} ({task.labels[value]}), which its labels do "
                "not annotate",
                where=f"{case.label}, {count:,} voxels",
                mend="add it to what the case annotates (dataset.json, or sites.NAME.annotated in "
                "the federation file), or correct the map",
            )
    yield from _presence_faults(case, task, {v for v, count in counts.items() if count})


def box_faults(case: Case, task: Task, volume: Volume) -> Iterator[DataError]:
    """What is wrong with the boxes of a case in its volume."""
    boxes = case.labels.boxes or ()
    for box in boxes:
        extent = voxels_of(box, volume)
        if not is_inside(extent, volume.shape_vox):
            yield DataError(
                f"a box of case {case.name} ({task.labels[box.label]}) is outside of the volume",
                where=f"{case.images[0]}, {_words(box)}",
                mend="correct the box; voxels are counted from 0 along i, j, k of the file, and "
                "places in mm lead to the right, anterior and superior",
            )
    if case.labels.boxes is not None:
        yield from _presence_faults(case, task, {box.label for box in boxes})


def _words(box: LabelBox) -> str:
    low, high = ([f"{edge:g}" for edge in corner] for corner in (box.low, box.high))
    return f"from ({', '.join(low)}) to ({', '.join(high)}) {box.unit}"


def _presence_faults(case: Case, task: Task, found: set[int]) -> Iterator[DataError]:
    """Classes that a table says are there, or not, against those that are drawn or boxed."""
    labels = case.labels
    annotated = labels.supervision.classes(task) if labels.supervision.kind in _COMPLETE else ()
    for value in labels.present:
        if value in annotated and value not in found:
            yield DataError(
                f"case {case.name} has {task.labels[value]}, as a table says, but nothing of it is "
                "drawn",
                where=str(case.label or case.images[0]),
                mend="draw it, correct the table, or take it out of what the case annotates",
            )
    for value in labels.absent:
        if value in found:
            yield DataError(
                f"case {case.name} has no {task.labels[value]}, as a table says, but it is drawn",
                where=str(case.label or case.images[0]),
                mend="correct the map, the boxes or the table",
            )
