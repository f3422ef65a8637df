"""What a case's labels teach: which classes are annotated, and where nothing is known.

Whatever is not annotated is unknown, never background. The value is plain data, so that planning,
preparation, training and evaluation can all ask it; targets and losses are made from it.

A label map as it is loaded and prepared, int16 (z, y, x), holds by kind:

* full, partial: the label values. Where a partial map says 0 there may be any class that is not
  annotated.
* scribble, point, pseudo: the label values, the background's 0 too, where something is marked, and
  `UNKNOWN` elsewhere.
* image, none: `UNKNOWN` everywhere.
* box: bits. Bit c - 1 is set inside the boxes of the class with the value c, so that boxes of
  several classes may overlap; 0 is outside of all boxes.

Voxels of -1 lie outside the volume or the patient: background, and in a box map no bit.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from fednnunet.errors import InputError
from fednnunet.task import Task

SupervisionKind = Literal["full", "partial", "scribble", "point", "box", "image", "none", "pseudo"]

UNKNOWN = -2
"""The value of voxels of a loaded label map of which nothing is known; no label and no class."""

MAX_BOX_CLASSES = 15
"""Classes that a box map has bits for: an int16 without its sign."""

SPARSE = frozenset({"scribble", "point", "pseudo"})
"""Kinds whose maps leave voxels out: these are unknown."""

WITHOUT_MAP = frozenset({"image", "none"})
"""Kinds of cases that have no label map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """What is known of one case. A small value, so that the samples of a batch group by it."""

    kind: SupervisionKind = "full"
    """What was annotated, and how; see above."""

    annotated: tuple[int, ...] = ()
    """Label values of the classes that were looked for, without the background; none for all of
    the task's. A "partial" case lists them; a "scribble", "point", "box" or "pseudo" case may."""

    present: tuple[int, ...] = ()
    """Classes that the volume of an "image" case contains, somewhere."""

    absent: tuple[int, ...] = ()
    """Classes that the volume of an "image" case does not contain."""

    def __post_init__(self) -> None:
        listed = bool(self.annotated)
        if (self.kind == "partial") != listed and self.kind in ("full", "partial", *WITHOUT_MAP):
            raise InputError(
                f"supervision of kind {self.kind!r} annotates the values {list(self.annotated)}",
                mend='list the annotated values of a "partial" case, and none of a "full" one or '
                "of one without a label map",
            )
        said = {*self.present, *self.absent}
        if (self.kind == "image") != bool(said) or len(said) < len(self.present) + len(self.absent):
            raise InputError(
                f"supervision of kind {self.kind!r} says that the classes {list(self.present)} are "
                f"present and {list(self.absent)} absent",
                mend='say of an "image" case which classes it has or lacks, each once, and nothing '
                "of any other",
            )

    @property
    def has_map(self) -> bool:
        """Whether the loaded map holds label values: not bits of boxes, and not only `UNKNOWN`."""
        return self.kind != "box" and self.kind not in WITHOUT_MAP

    def classes(self, task: Task) -> frozenset[int]:
        """Label values of the classes that a map or boxes annotate, without the background."""
        if self.kind in WITHOUT_MAP:
            return frozenset()
        if self.annotated:
            return frozenset(self.annotated) - {0, task.ignore}
        return frozenset(range(1, len(task.labels)))

    def covers(self, values: Collection[int], task: Task) -> bool:
        """Whether all classes of a target (a label, or the labels of a region) are annotated."""
        return self.classes(task).issuperset(values)

    def leaves_out(self, task: Task) -> bool:
        """Whether cross-entropy is a mean over the known voxels of all samples of a batch.

        The losses of the other kinds are means over samples, however many voxels each knows.
        """
        return task.ignore is not None or self.kind in ("scribble", "point", "pseudo")


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
