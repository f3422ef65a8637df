"""What is known of a voxel: the labels that it may have. It overrules every pseudo-label."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from fednnunet.supervision import UNKNOWN, WITHOUT_MAP, Supervision
from fednnunet.task import Task
from fednnunet.training.patches import OUTSIDE


def has_unknown(supervision: Supervision, task: Task) -> bool:
    """Whether a case may hold voxels of which more than one label is possible."""
    every = range(1, len(task.labels))
    return supervision.kind != "full" and not (
        supervision.kind == "partial" and supervision.covers(every, task)
    )


def possible_labels(labels: Tensor, supervision: Supervision, task: Task) -> Tensor:
    """Which label values each voxel may have: booleans (b, v, z, y, x), v = len(task.labels).

    `labels` (b, z, y, x) are loaded maps of that supervision; in 2D without z. A drawn class allows
    itself only. Where a map says background, this and the classes that it does not annotate are
    possible; inside boxes their classes and the background; without a map every class that is not
    said to be absent. Outside the volume is background. Voxels that the task ignores have none.
    """
    classes = range(1, len(task.labels))
    annotated = supervision.classes(task)
    nowhere = torch.zeros_like(labels, dtype=torch.bool)
    if supervision.kind in WITHOUT_MAP:
        marked, certain = nowhere, {}
    elif supervision.kind == "box":
        marked = labels >= 0
        certain = {c: marked & ((labels >> (c - 1)) & 1 == 1) for c in annotated}
    else:
        marked = (labels >= 0) & (labels != (UNKNOWN if task.ignore is None else task.ignore))
        certain = {c: labels == c for c in annotated}
    free = labels == UNKNOWN
    labelled = nowhere if supervision.kind == "box" else _any(list(certain.values()), nowhere)
    planes = [(labels == OUTSIDE) | free | (marked & ~labelled)]
    for c in classes:
        if c in annotated:
            planes.append(free | certain[c])
        else:
            planes.append(nowhere if c in supervision.absent else free | (marked & ~labelled))
    return torch.stack(planes, 1)


def certain_labels(possible: Tensor) -> Tensor:
    """The label of voxels with a single possible one, UNKNOWN elsewhere; int16 (b, z, y, x).

    `possible` is from `possible_labels`.
    """
    planes = possible.unbind(1)
    count = torch.zeros_like(planes[0], dtype=torch.int16)
    label = torch.zeros_like(count)
    for value, there in enumerate(planes):
        count += there
        label.masked_fill_(there, value)
    return label.masked_fill_(count != 1, UNKNOWN)


def _any(planes: list[Tensor], nowhere: Tensor) -> Tensor:
    return reduce(torch.logical_or, planes, nowhere)
