"""Statistics of one case for planning; they never leave the site."""

from __future__ import annotations

import itertools
import math

import numpy as np

from fednnunet.errors import DataError
from fednnunet.planning.fingerprint import CaseFingerprint
from fednnunet.planning.sketch import ForegroundSketch
from fednnunet.preprocess.crop import crop, nonzero_box
from fednnunet.preprocess.load import label_counts
from fednnunet.supervision import SPARSE, Supervision
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume

_LETTERS = (
    ("R", "L"),
    ("A", "P"),
    ("I", "S"),
)  # down and up the ITK axes: left, posterior, superior


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
    z, y, x = cropped.shape
    known = supervision or Supervision()
    foreground = cropped > 0
    if not known.is_drawn:
        foreground[:] = False
    elif known.kind in SPARSE and task.ignore is not None:
        foreground &= cropped != task.ignore
    counts = label_counts(cropped) if known.is_drawn else {}
    return CaseFingerprint(
        spacing_mm=volume.spacing_mm,
        shape_vox=(z, y, x),
        crop_ratio=cropped.size / math.prod(volume.shape_vox),
        foreground=tuple(_sketch(channel[foreground]) for channel in image),
        voxels_per_label=tuple(counts.get(value, 0) for value in range(len(task.labels))),
        orientation=orientation_code(volume.geometry),
        kind=known.kind,
        annotated=_annotated(known, task),
    )


def _annotated(known: Supervision, task: Task) -> tuple[int, ...] | None:
    """The classes of which the labels say something; None for all of them."""
    said = known.classes(task) | {*known.present, *known.absent}
    return None if said >= set(range(1, len(task.labels))) else tuple(sorted(said))


def orientation_code(geometry: Geometry) -> str:
    """Axis code of the stored volume as nibabel writes it, e.g. "RAS"; empty if it has none.

    One letter for each voxel axis (x, y, z): the direction in which its index grows. Oblique
    volumes get the code of the nearest one that is not oblique.
    """
    direction = np.asarray(geometry.direction, np.float64).reshape(3, 3)
    if not np.isfinite(direction).all() or abs(np.linalg.det(direction)) < 1e-3:
        return ""
    steps = np.abs(direction)
    orders = itertools.permutations(range(3))
    nearest = max(orders, key=lambda rows: sum(steps[row, axis] for axis, row in enumerate(rows)))
    return "".join(_LETTERS[row][int(direction[row, axis] > 0)] for axis, row in enumerate(nearest))


def _sketch(values: np.ndarray) -> ForegroundSketch:
    if not np.isfinite(values).all():
        raise DataError(
            "the image has NaN or infinite values in the foreground",
            mend="replace these values; check_site lists every file that has any",
        )
    return ForegroundSketch.of_voxels(values)
