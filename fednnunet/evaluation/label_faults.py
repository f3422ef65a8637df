"""What may be wrong with a case's label map, by comparison with a confident model's mask.

With R_c and P_c the voxels of class c in the label map and in the model's mask, and H_v the entropy
of the model in voxel v (0 where it is sure, 1 where it has no preference), the disagreement about c
is

    D_c = sum over v in (R_c xor P_c) of (1 - H_v)  /  (|R_c| + |P_c|),

which is 1 - Dice where the model is sure everywhere, and less where it is unsure: what a model is
not sure of says nothing against a label. A case's disagreement is the mean of D_c over the classes
that either map holds. Labels are doubted where a confident model contradicts them, as in confident
learning (Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR
2021) and FedCorr (Xu et al., "FedCorr: Multi-Stage Federated Learning for Label Noise Correction",
CVPR 2022); those choose voxels by a threshold, here each counts by how sure the model is.

Surfaces then tell what kind of fault it is. The signed distance is the mean over both surfaces, in
mm: above 0 where the label map reaches beyond the mask. The shift is the vector between the two
centres of mass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fednnunet.evaluation.surfaces import mask_box, surface_distances, surface_voxels, united
from fednnunet.supervision import UNKNOWN, Supervision
from fednnunet.task import Task

SURE = 0.2
"""The highest entropy of a voxel that counts as sure; with three classes a probability of 0.95."""
_SWAPPED = 0.5  # the share of each of two classes that has the other's label
_THICKNESS_VOX, _SHIFT_VOX = 0.75, 2.0
_ABSENT = 0.5  # the mean sureness of voxels that only one of both maps has


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFaults:
    """How a class differs between the label map and the model's mask."""

    name: str
    """The class."""
    labelled_ml: float
    """Its volume in the label map."""
    predicted_ml: float
    """Its volume in the model's mask."""
    disagreement: float
    """D_c, from 0 to 1."""
    signed_mm: float | None = None
    """Mean signed surface distance; above 0 where the label map is larger. None if either map lacks
    the class."""
    shift_mm: tuple[float, float, float] | None = None
    """From the mask's centre of mass to the label map's, (z, y, x) of the stored array."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFaults:
    """What is doubtful about the label map of one case."""

    case: str
    """The case's name."""
    disagreement: float
    """The mean of the classes' disagreements, from 0 to 1; cases are ranked by it."""
    findings: tuple[str, ...]
    """What may be wrong, in words."""
    classes: tuple[ClassFaults, ...]
    """Each class that either map holds."""
    label_sha256: str = ""
    """Digest of the label map's file, so that a corrected one is compared anew."""
    corrected: str = ""
    """The corrected label map, relative to the folder of the review."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Maps:
    """The loaded `labels` of a case, the model's mask `predicted` and its `entropy`, (z, y, x).

    Labels are those of full or partial label maps; `spacing_mm` is (z, y, x).
    """

    labels: np.ndarray
    predicted: np.ndarray
    entropy: np.ndarray
    spacing_mm: tuple[float, float, float]

    @property
    def voxel_ml(self) -> float:
        """The volume of a voxel."""
        return math.prod(self.spacing_mm) / 1000


def find_faults(case: str, maps: Maps, supervision: Supervision, task: Task) -> LabelFaults:
    """Compare one case's label map with the model's mask, in its annotated classes alone.

    Voxels that nobody labelled (the task's ignore value) count nowhere. The fields of files are
    left empty.
    """
    maps = _compared(maps, supervision, task)
    values = sorted(supervision.classes(task))
    classes = {value: found for value in values if (found := _class_faults(value, maps, task))}
    swapped = list(_swapped(maps, list(classes), task))
    findings = [text for _, text in swapped]
    both = {value for pair, _ in swapped for value in pair}
    for value, found in classes.items():
        if value not in both:
            findings += _words(found, value, maps)
    return LabelFaults(
        case=case,
        disagreement=float(np.mean([c.disagreement for c in classes.values()] or [0.0])),
        findings=tuple(findings),
        classes=tuple(classes.values()),
    )


def corrected(
    maps: Maps, supervision: Supervision, task: Task, *, sure: float = SURE
) -> np.ndarray:
    """The label map (z, y, x) with the model's label where it is sure, the reader's elsewhere.

    The label of a voxel whose entropy is above `sure` stays, and so does the ignore value. Of a
    partial label map only the annotated classes are corrected.
    """
    known = _known(maps.labels, task)
    taken = _annotated(maps.predicted, supervision, task)
    return np.where(known & (maps.entropy <= sure), taken, maps.labels).astype(maps.labels.dtype)


def _known(labels: np.ndarray, task: Task) -> np.ndarray:
    return (labels != UNKNOWN) & (labels != (UNKNOWN if task.ignore is None else task.ignore))


def _annotated(mask: np.ndarray, supervision: Supervision, task: Task) -> np.ndarray:
    """A mask with every class that was not annotated turned to background."""
    return np.where(np.isin(mask, sorted(supervision.classes(task))), mask, 0)


def _compared(maps: Maps, supervision: Supervision, task: Task) -> Maps:
    """Both maps in the classes that are annotated and the voxels that are known, cropped."""
    known = _known(maps.labels, task)
    labels, mask = (
        np.where(known, _annotated(array, supervision, task), 0)
        for array in (maps.labels, maps.predicted)
    )
    box = united([mask_box(labels), mask_box(mask)]) or (slice(0, 1),) * 3
    return Maps(
        labels=labels[box],
        predicted=mask[box],
        entropy=maps.entropy[box].astype(np.float64),
        spacing_mm=maps.spacing_mm,
    )


def _class_faults(value: int, maps: Maps, task: Task) -> ClassFaults | None:
    """How one class differs; None where neither map holds it."""
    labelled, predicted = maps.labels == value, maps.predicted == value
    sizes = int(labelled.sum()), int(predicted.sum())
    if not any(sizes):
        return None
    against = float((1 - maps.entropy)[labelled ^ predicted].sum())
    there = all(sizes)
    return ClassFaults(
        name=task.labels[value],
        labelled_ml=sizes[0] * maps.voxel_ml,
        predicted_ml=sizes[1] * maps.voxel_ml,
        disagreement=against / sum(sizes),
        signed_mm=signed_distance_mm(labelled, predicted, maps.spacing_mm) if there else None,
        shift_mm=_shift_mm(labelled, predicted, maps.spacing_mm) if there else None,
    )


def signed_distance_mm(
    labelled: np.ndarray, predicted: np.ndarray, spacing_mm: tuple[float, float, float]
) -> float:
    """Mean signed distance between the surfaces of two bool masks that are not empty, in mm.

    Surface voxels of the label map count above 0 beyond the prediction and below 0 inside of it,
    those of the prediction the other way round.
    """
    found = surface_distances(predicted, labelled, spacing_mm)
    ours, theirs = surface_voxels(labelled), surface_voxels(predicted)
    back = np.where(predicted[ours], -found.back, found.back)
    there = np.where(labelled[theirs], found.there, -found.there)
    return float(np.concatenate([back, there]).mean())


def _shift_mm(
    labelled: np.ndarray, predicted: np.ndarray, spacing_mm: Sequence[float]
) -> tuple[float, float, float]:
    centres = (np.argwhere(mask).mean(0) for mask in (labelled, predicted))
    ours, theirs = centres
    z, y, x = ((a - b) * step for a, b, step in zip(ours, theirs, spacing_mm, strict=True))
    return float(z), float(y), float(x)


def _swapped(
    maps: Maps, values: Sequence[int], task: Task
) -> Iterator[tuple[tuple[int, int], str]]:
    """Pairs of classes of which each has the other's label in more than half of its voxels."""
    for place, first in enumerate(values):
        for second in values[place + 1 :]:
            pairs = ((first, second), (second, first))
            shares = []
            for label, truth in pairs:
                labelled = maps.labels == label
                common = int((labelled & (maps.predicted == truth)).sum())
                shares.append(common / max(int(labelled.sum()), 1))
            if min(shares) > _SWAPPED:
                yield (first, second), f"{task.labels[first]} and {task.labels[second]} are swapped"


def _words(found: ClassFaults, value: int, maps: Maps) -> list[str]:
    """What may be wrong with a class, in words."""
    if found.signed_mm is None or found.shift_mm is None:
        if found.disagreement < _ABSENT:
            return []
        where = "not labelled" if not found.labelled_ml else "labelled where the model finds none"
        return [f"{found.name} is {where}"]
    step = sum(maps.spacing_mm) / 3
    words = []
    if abs(found.signed_mm) > _THICKNESS_VOX * step:
        kind = "larger (dilated)" if found.signed_mm > 0 else "smaller (eroded)"
        words.append(f"{found.name} is {kind} by {abs(found.signed_mm):.1f} mm at its surface")
    shift = math.hypot(*found.shift_mm)
    if shift > _SHIFT_VOX * step:
        words.append(f"{found.name} is shifted by {shift:.1f} mm")
    if not words and found.disagreement > _ABSENT:
        words.append(f"{found.name} is at another place")
    return words
