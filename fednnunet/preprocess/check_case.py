"""Check one case against the task: its faults, and the properties used to compare cases."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fednnunet.case_labels import LabelBox
from fednnunet.dataset import Case
from fednnunet.errors import FedNNUNetError
from fednnunet.preprocess.boxes import voxels_of
from fednnunet.preprocess.case_label_map import unmarked_value
from fednnunet.preprocess.load import label_counts, try_case
from fednnunet.preprocess.orient import orientation_code
from fednnunet.task import Task
from fednnunet.volume import Volume

_AIR_HU = -200  # intensities below are air; only CT has many of them


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseProperties:
    """Properties by which the cases of a site are compared."""

    case: str
    shape_vox: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    orientation: str
    files: tuple[str, ...]
    """File name of each channel."""
    digests: tuple[str, ...]
    """Hash of the voxels of each channel."""
    range: tuple[float, ...]
    """Per channel, the distance between the 1st and the 99th percentile of intensity."""
    lowest: tuple[float, ...]
    """Per channel, the lowest intensity."""
    air: tuple[float, ...]
    """Per channel, the share of voxels with an intensity that is air in CT."""
    voxels: dict[str, int]
    """Number of voxels of each label value, or inside its boxes; empty without any."""


Checked = tuple[CaseProperties | None, list[tuple[str, str, str, str]]]  # kind, what, where, mend


def check_case(case: Case, task: Task) -> Checked:
    """The properties of a case (`None` if its images cannot be read) and its faults."""
    volume, label, faults = try_case(case, task)
    problems = [(_kind(fault), fault.what, fault.where, fault.mend) for fault in faults]
    if volume is None:
        return None, problems
    boxes = case.labels.boxes
    if boxes is not None:
        counts = _boxed(boxes, volume)
    else:
        counts = label_counts(label.array[0]) if label else {}
        unmarked = unmarked_value(case.labels, task)
        counts = {value: n for value, n in counts.items() if value != unmarked}
    return _properties(case, volume, {str(value): n for value, n in counts.items()}), problems


def _properties(case: Case, volume: Volume, voxels: dict[str, int]) -> CaseProperties:
    samples = [_sample(channel) for channel in volume.array]
    return CaseProperties(
        case=case.name,
        shape_vox=volume.shape_vox,
        spacing_mm=volume.spacing_mm,
        orientation=orientation_code(volume.geometry),
        files=tuple(path.name for path in case.images),
        digests=tuple(digest(channel) for channel in volume.array),
        range=tuple(float(np.subtract(*np.quantile(s, [0.99, 0.01]))) for s in samples),
        lowest=tuple(float(s.min()) for s in samples),
        air=tuple(float((s < _AIR_HU).mean()) for s in samples),
        voxels=voxels,
    )


def _boxed(boxes: Sequence[LabelBox], volume: Volume) -> dict[int, int]:
    """Number of voxels in the boxes of each class."""
    counts: Counter[int] = Counter()
    for box in boxes:
        counts[box.label] += math.prod(high - low for low, high in voxels_of(box, volume))
    return dict(counts)


def _sample(channel: np.ndarray, max_voxels: int = 1 << 18) -> np.ndarray:
    """About `max_voxels` finite voxels of a channel, evenly spaced; [0] if there are none."""
    flat = channel.ravel()
    sample = flat[:: max(1, flat.size // max_voxels)]
    finite = sample[np.isfinite(sample)]
    return finite if len(finite) else np.zeros(1)


def digest(channel: np.ndarray) -> str:
    """A hash of voxels (z, y, x) and shape, the same for equal images in any file format."""
    shape = "x".join(map(str, channel.shape)).encode()
    return hashlib.blake2b(
        np.ascontiguousarray(channel).data, digest_size=16, key=shape
    ).hexdigest()


_KINDS = {
    "its labels do not annotate": "label kind",
    "as a table says": "label kind",
    "outside of the volume": "label kind",
    "cannot be read": "unreadable",
    "is missing": "unreadable",
    "no image format": "unreadable",
    "not one 3D image": "not 3D",
    "grid": "grid",
    "NaN": "NaN or infinite",
    "not whole numbers": "label values",
    "not one of the task's labels": "label values",
    "label values up to": "label values",
}


def _kind(fault: FedNNUNetError) -> str:
    return next((kind for phrase, kind in _KINDS.items() if phrase in fault.what), "other")
