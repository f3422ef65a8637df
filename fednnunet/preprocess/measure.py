"""Statistics of one case for planning; they never leave the site."""

from __future__ import annotations

import math

import numpy as np

from fednnunet.errors import DataError
from fednnunet.planning.fingerprint import CaseFingerprint
from fednnunet.planning.orientation import CANONICAL
from fednnunet.planning.sketch import ForegroundSketch
from fednnunet.preprocess.crop import crop, nonzero_box
from fednnunet.preprocess.load import label_counts
from fednnunet.preprocess.orient import Turn, orientation_code
from fednnunet.supervision import SPARSE, Supervision
from fednnunet.task import Task
from fednnunet.volume import Volume


def measure_case(
    volume: Volume, label: np.ndarray, task: Task, supervision: Supervision | None = None
) -> CaseFingerprint:
    """Fingerprint of a case with its loaded `label` (z, y, x); foreground is every label above 0.

    `supervision` says what the labels are (default: full). Of boxes, and where nothing is marked,
    no voxel is foreground: the inside of a box is not the organ.

    Raises DataError for a label of another shape, another number of channels, or intensities
    that are not finite.
    """
    if label.shape != volume.shape_vox:
        raise DataError(
            f"the label map has shape {list(label.shape)}, its image {list(volume.shape_vox)}",
            mend="resample the label map onto the image's grid",
        )
    if len(volume.array) != len(task.channels):
        raise DataError(
            f"the image has {len(volume.array)} channels, the task has {len(task.channels)}",
            mend=f"give one file per channel: {', '.join(task.channels)}",
        )
    box = nonzero_box(volume.array)
    image, cropped = crop(volume.array, box), crop(label, box)
    code = orientation_code(volume.geometry)
    turn = Turn.between(code, CANONICAL)
    z, y, x = turn.apply(cropped).shape
    known = supervision or Supervision()
    foreground = cropped > 0
    if not known.has_map:
        foreground[:] = False
    elif known.kind in SPARSE and task.ignore is not None:
        foreground &= cropped != task.ignore
    counts = label_counts(cropped) if known.has_map else {}
    return CaseFingerprint(
        spacing_mm=turn.order(volume.spacing_mm),
        shape_vox=(z, y, x),
        crop_ratio=cropped.size / math.prod(volume.shape_vox),
        foreground=tuple(_sketch(channel[foreground]) for channel in image),
        voxels_per_label=tuple(counts.get(value, 0) for value in range(len(task.labels))),
        orientation=code,
        kind=known.kind,
        annotated=_annotated(known, task),
    )


def _annotated(known: Supervision, task: Task) -> tuple[int, ...] | None:
    """The classes of which the labels say something; None for all of them."""
    said = known.classes(task) | {*known.present, *known.absent}
    return None if said >= set(range(1, len(task.labels))) else tuple(sorted(said))


def _sketch(values: np.ndarray) -> ForegroundSketch:
    if not np.isfinite(values).all():
        raise DataError(
            "the image has NaN or infinite values in the foreground",
            mend="replace these values; check_site lists every file that has any",
        )
    return ForegroundSketch.of_voxels(values)
