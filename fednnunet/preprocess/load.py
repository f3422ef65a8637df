"""Read a case, with checks for everything that would corrupt statistics or training."""

from __future__ import annotations

import numpy as np

from fednnunet import io
from fednnunet.dataset import Case
from fednnunet.errors import DataError, FedNNUNetError, ManyFaults, raise_all
from fednnunet.label_names import ValueMap
from fednnunet.preprocess.case_label_map import box_faults, label_map, map_faults, unmarked_value
from fednnunet.task import Task
from fednnunet.volume import Volume


def load_case(case: Case, task: Task) -> tuple[Volume, np.ndarray | None]:
    """The image float32 (c, z, y, x) of a case, and its labels by their kind, int16 (z, y, x).

    The labels are as `fednnunet.supervision` says: unknown voxels, and boxes as bits. Raises every
    fault of the files at once: unreadable, different grids, NaN, unknown labels, and what
    contradicts the kind of labels.
    """
    volume, label, faults = try_case(case, task)
    raise_all(f"case {case.name} cannot be used", faults)
    if volume is None:
        raise DataError(f"case {case.name} has no image", mend="add its image files to imagesTr")
    return volume, label_map(case, task, volume, None if label is None else label.array[0])


def try_case(
    case: Case, task: Task
) -> tuple[Volume | None, Volume | None, tuple[FedNNUNetError, ...]]:
    """Image and label map as in their files, `None` if they cannot be read, and all faults."""
    faults: list[FedNNUNetError] = []
    volume = label = None
    try:
        volume = io.read_volume(case.images)
        faults += image_faults(volume, case)
    except ManyFaults as many:
        faults += many.faults
    except FedNNUNetError as fault:
        faults.append(fault)
    if volume:
        faults += box_faults(case, task, volume)
    if case.label is None:
        return volume, None, tuple(faults)
    try:
        label = io.read_label(case.label)
        faults += label_faults(label, case, task)
        label = _mapped(label, case)
    except FedNNUNetError as fault:
        faults.append(fault)
    if volume and label and (difference := io.grid_difference(volume, label)):
        faults.append(
            DataError(
                f"label map {case.label.name} is not on its image's grid: {difference}",
                where=str(case.label),
                mend="resample the label map onto the image's grid, by nearest neighbour",
            )
        )
    return volume, label, tuple(faults)


def image_faults(volume: Volume, case: Case) -> list[FedNNUNetError]:
    """NaN and infinite values, counted per channel file."""
    faults: list[FedNNUNetError] = []
    for path, channel in zip(case.images, volume.array, strict=True):
        if np.isfinite(channel.sum(dtype=np.float64)):
            continue
        count = channel.size - int(np.isfinite(channel).sum())
        faults.append(
            DataError(
                f"{path.name} has {count:,} voxels that are NaN or infinite",
                where=str(path),
                mend="replace them in the source, e.g. by the background's value",
            )
        )
    return faults


def label_faults(label: Volume, case: Case, task: Task) -> list[FedNNUNetError]:
    """Label values that stand for none of the task's, and what contradicts the labels' kind."""
    counts = label_counts(label.array[0])
    values, unmarked = case.labels.values, unmarked_value(case.labels, task)
    path, known = case.label, values.known(task)
    whose = "site's" if values.pairs else "task's"
    faults: list[FedNNUNetError] = [
        DataError(
            f"label {value} in {path.name if path else case.name} is not one of the {whose} labels "
            + ", ".join(map(str, known)),
            where=f"{path}, {count:,} voxels",
            mend="correct the label map, or add the label to dataset.json and to the task",
        )
        for value, count in sorted(counts.items())
        if value not in known and value != unmarked
    ]
    return faults + list(map_faults(case, task, _translated(counts, values)))


def read_mapped_label(case: Case) -> Volume:
    """The label map of a case that has one, (1, z, y, x) int16 in the task's values."""
    if case.label is None:
        raise DataError(f"case {case.name} has no label map", mend="add it to labelsTr")
    return _mapped(io.read_label(case.label), case)


def _mapped(label: Volume, case: Case) -> Volume:
    return Volume(array=case.labels.values.apply(label.array), geometry=label.geometry)


def _translated(counts: dict[int, int], values: ValueMap) -> dict[int, int]:
    """Numbers of voxels by the task's values."""
    result: dict[int, int] = {}
    for value, count in counts.items():
        result[values.of(value)] = result.get(values.of(value), 0) + count
    return result


def label_counts(label: np.ndarray) -> dict[int, int]:
    """Number of voxels of each value in a label map (z, y, x); slice by slice, to save memory."""
    counts: dict[int, int] = {}
    for plane in label:
        low = int(plane.min(initial=0))
        found = np.bincount((plane.astype(np.int32) - low).ravel())
        for offset in np.flatnonzero(found):
            value = low + int(offset)
            counts[value] = counts.get(value, 0) + int(found[offset])
    return counts
