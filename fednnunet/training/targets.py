"""What a site's labels teach: which targets there are, which voxels count, what is not annotated.

A site may have drawn only some of the task's labels. A voxel that it calls background may then be
any of the others, so the probabilities of those are added to the background's before the loss
(marginal loss; Shi et al., Marginal loss and exclusion loss for partially supervised multi-organ
segmentation, Medical Image Analysis 2021). A missing label is never taught as background.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Labels of a task as a loss sees them.

    `groups` gives, per output of the loss, the label values it stands for: for a softmax task the
    first is the background with all that the site has not annotated, and each other is one
    annotated label; for regions each is one region whose values are all annotated. `outputs` are
    the network's outputs of each group (several are merged by adding probabilities). `scored` are
    the targets (positions in `Task.targets`) that the groups after the background stand for.
    """

    regions: bool
    groups: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    scored: tuple[int, ...]
    ignore: int | None
    names: tuple[str, ...]

    def valid(self, labels: Tensor) -> Tensor | None:
        """Voxels (b, z, y, x) that enter the loss, `None` for all."""
        return None if self.ignore is None else labels != self.ignore

    def indicators(self, labels: Tensor) -> Tensor:
        """Truth of each group (b, g, z, y, x) as booleans; in softmax tasks background is first."""
        planes = [torch.isin(labels, labels.new_tensor(group)) for group in self.groups]
        return torch.stack(planes, 1)

    def classes(self, labels: Tensor) -> Tensor:
        """Group of each voxel (b, z, y, x; int64); whatever is unknown is group 0."""
        out = torch.zeros_like(labels, dtype=torch.int64)
        for index, group in enumerate(self.groups[1:], start=1):
            for value in group:
                out.masked_fill_(labels == value, index)
        return out


def make_targets(task: Task, labels_here: Iterable[int] | None = None) -> Targets:
    """Targets of a site that has annotated the label values `labels_here` (default: all).

    Raises InputError where it has annotated nothing of the task.
    """
    every = set(range(1, len(task.labels)))
    here = every if labels_here is None else set(labels_here) - {0, task.ignore}
    if not here <= every or not here:
        raise InputError(
            f"the site annotates the values {sorted(here)}, the task has {sorted(every)}",
            mend="name at least one label of the task",
        )
    if task.regions:
        whole = [i for i, values in enumerate(task.regions.values()) if set(values) <= here]
        if not whole:
            raise InputError(
                f"no region is made of the annotated values {sorted(here)} alone",
                mend="annotate all labels of at least one region",
            )
        groups = tuple(tuple(list(task.regions.values())[i]) for i in whole)
        outputs: tuple[tuple[int, ...], ...] = tuple((i,) for i in whole)
        scored = tuple(whole)
    else:
        missing = tuple(sorted(every - here))
        known = tuple(sorted(here))
        groups = ((0, *missing), *((value,) for value in known))
        outputs, scored = groups, tuple(value - 1 for value in known)
    return Targets(
        regions=bool(task.regions),
        groups=groups,
        outputs=outputs,
        scored=scored,
        ignore=task.ignore,
        names=task.targets,
    )
