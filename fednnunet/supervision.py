"""What a case's labels teach: which classes are annotated, and where nothing is known.

Whatever is not annotated is unknown, never background. The value is plain data, so that planning,
preparation, training and evaluation can all ask it; targets and loss are made from it in
`training.targets` and `training.losses`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from fednnunet.errors import InputError
from fednnunet.task import Task

SupervisionKind = Literal["full", "partial"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """What the label map of one case says."""

    kind: SupervisionKind = "full"
    """"full": every class of the task is annotated. "partial": only the classes in `annotated`."""

    annotated: tuple[int, ...] = ()
    """Label values of the classes that a "partial" case annotates, without the background."""

    ignore: int | None = None
    """Label value of voxels that teach nothing (default: the task's own ignore value)."""

    def __post_init__(self) -> None:
        if (self.kind == "partial") != bool(self.annotated):
            raise InputError(
                f"supervision of kind {self.kind!r} annotates the values {list(self.annotated)}",
                mend='list the annotated values of a "partial" case, and none of a "full" one',
            )

    def classes(self, task: Task) -> frozenset[int]:
        """Label values of the annotated classes, without the background."""
        if self.kind == "full":
            return frozenset(range(1, len(task.labels)))
        return frozenset(self.annotated) - {0, self.ignored(task)}

    def ignored(self, task: Task) -> int | None:
        """The label value of voxels that enter no loss and no count, if there is one."""
        return task.ignore if self.ignore is None else self.ignore

    def covers(self, values: Collection[int], task: Task) -> bool:
        """Whether all classes of a target (a label, or the labels of a region) are annotated."""
        return self.classes(task).issuperset(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSupervision:
    """The supervision of each of a site's cases."""

    default: Supervision = Supervision()
    """What the labels of a case teach that `cases` does not name."""

    cases: dict[str, Supervision] = field(default_factory=dict)
    """Cases, by name, whose labels teach something else."""

    def of(self, case: str) -> Supervision:
        """What the labels of that case teach."""
        return self.cases.get(case, self.default)


def partial_supervision(annotated: Collection[int], task: Task) -> Supervision:
    """Supervision of label maps that annotate these values; "full" where these are all."""
    classes = set(range(1, len(task.labels)))
    if classes <= set(annotated):
        return Supervision()
    return Supervision(kind="partial", annotated=tuple(sorted(set(annotated) - {0})))
