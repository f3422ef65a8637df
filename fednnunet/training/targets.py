"""A supervision as tensors: the groups of labels that a loss tells apart, and which voxels count.

Labels may annotate only some of the task's classes. A voxel that they call background may then be
any of the others, so the probabilities of those are added to the background's before the loss
(marginal loss; Shi et al., Marginal loss and exclusion loss for partially supervised multi-organ
segmentation, Medical Image Analysis 2021). A class that is not annotated is never taught as
background. With U the classes that are not annotated,

    q(0) = p(0) + sum over c in U of p(c),   q(c) = p(c) for the annotated c,

and cross-entropy and Dice are those of q. The paper's exclusion loss, which keeps the classes of U
off voxels that are annotated as something else, is left out: a softmax's cross-entropy there
already lowers the probability of every other class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.supervision import SPARSE, UNKNOWN, Supervision
from fednnunet.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Labels of a task as a loss sees them.

    `groups` gives, per output of the loss, the label values it stands for: for a softmax task the
    first is the background with all classes that are not annotated, and each other is one
    annotated label; for regions each is one region whose values are all annotated. `outputs` are
    the network's outputs of each group (several are merged by adding probabilities). `scored` are
    the targets (positions in `Task.targets`) that the groups after the background stand for.
    `ignore` is the label value of voxels that do not count, and `names` are the task's targets.
    With `is_sparse` voxels of `UNKNOWN` do not count either. `nothing` is for labels that say no
    class of any voxel (boxes, image labels, none): no voxel counts and no target is scored.
    """

    regions: bool
    groups: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    scored: tuple[int, ...]
    ignore: int | None
    names: tuple[str, ...]
    is_sparse: bool = False
    nothing: bool = False

    def valid(self, labels: Tensor) -> Tensor | None:
        """Voxels (b, z, y, x) that enter the loss, `None` for all."""
        if self.nothing:
            return torch.zeros_like(labels, dtype=torch.bool)
        known = None if self.ignore is None else labels != self.ignore
        if not self.is_sparse:
            return known
        marked = labels != UNKNOWN
        return marked if known is None else marked & known

    def of_the_task(self, labels: Tensor) -> Tensor | None:
        """Voxels (b, z, y, x) that are not to be ignored, known or not; `None` for all."""
        return None if self.ignore is None or self.nothing else labels != self.ignore

    def indicators(self, labels: Tensor) -> Tensor:
        """Truth of each group (b, g, z, y, x) as booleans; in softmax tasks background is first."""
        if not self.groups:
            return labels.new_zeros((len(labels), 0, *labels.shape[1:]), dtype=torch.bool)
        return torch.stack([_any_of(labels, group) for group in self.groups], 1)

    def classes(self, labels: Tensor) -> Tensor:
        """Group of each voxel (b, z, y, x; int64); whatever is unknown is group 0."""
        out = torch.zeros_like(labels, dtype=torch.int64)
        for index, group in enumerate(self.groups[1:], start=1):
            for value in group:
                out.masked_fill_(labels == value, index)
        return out


def _any_of(labels: Tensor, values: Sequence[int]) -> Tensor:
    """Where labels have one of the values. A tensor of the values would make a GPU wait."""
    found = labels == values[0]
    for value in values[1:]:
        found |= labels == value
    return found


def make_targets(task: Task, supervision: Supervision | None = None) -> Targets:
    """Targets of cases with that supervision (default: fully annotated).

    Raises InputError where a map annotates nothing of the task, or a value that it does not have.
    """
    supervision = supervision or Supervision()
    every = set(range(1, len(task.labels)))
    if not supervision.is_drawn:
        return _no_targets(task)
    annotated = supervision.classes(task)
    if not annotated <= every or not annotated:
        raise InputError(
            f"the labels annotate the values {sorted(annotated)}, the task has {sorted(every)}",
            mend="name at least one label of the task",
        )
    if task.regions:
        whole = [i for i, v in enumerate(task.regions.values()) if supervision.covers(v, task)]
        if not whole:
            raise InputError(
                f"no region is made of the annotated values {sorted(annotated)} alone",
                mend="annotate all labels of at least one region",
            )
        groups = tuple(tuple(list(task.regions.values())[i]) for i in whole)
        outputs: tuple[tuple[int, ...], ...] = tuple((i,) for i in whole)
        scored = tuple(whole)
    else:
        unknown = tuple(sorted(every - annotated))
        known = tuple(sorted(annotated))
        groups = ((0, *unknown), *((value,) for value in known))
        outputs, scored = groups, tuple(value - 1 for value in known)
    return Targets(
        regions=bool(task.regions),
        groups=groups,
        outputs=outputs,
        scored=scored,
        ignore=task.ignore,
        names=task.targets,
        is_sparse=supervision.kind in SPARSE,
    )


def _no_targets(task: Task) -> Targets:
    """Targets of labels that say no class of any voxel: all classes are one group."""
    groups = () if task.regions else (tuple(range(len(task.labels))),)
    return Targets(
        regions=bool(task.regions),
        groups=groups,
        outputs=groups,
        scored=(),
        ignore=task.ignore,
        names=task.targets,
        nothing=True,
    )
