"""What a site's `dataset.json` says of the labels of one case, and how its files are to be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fednnunet.label_names import ValueMap
from fednnunet.supervision import WITHOUT_MAP, Supervision

Corner = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelBox:
    """A box around one object of a class.

    With the unit "voxel", `low` and `high` are voxel indices (i, j, k) in the file's own axis
    order, `high` exclusive. With "mm" they are places (x, y, z) in the patient, towards right,
    anterior and superior, as a NIfTI affine gives them; the box holds the voxels whose centres lie
    from `low` to before `high`.
    """

    label: int
    low: Corner
    high: Corner
    unit: Literal["voxel", "mm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLabels:
    """What is known of a case, and where it is written."""

    supervision: Supervision = field(default_factory=Supervision)
    """What the loaded labels teach."""

    unmarked: int | None = None
    """The value in the file of voxels that nobody marked (default: the task's ignore value)."""

    boxes: tuple[LabelBox, ...] | None = None
    """The boxes of a "box" case; None where its label map is filled with them."""

    present: tuple[int, ...] = ()
    """Classes that a table says the volume of a case with a map contains; only for checks."""

    absent: tuple[int, ...] = ()
    """Classes that it says are not there."""

    source: str = ""
    """Where the labels of a "pseudo" case come from."""

    values: ValueMap = field(default_factory=ValueMap)
    """How the values in the label map are read as those of the task."""

    @property
    def needs_map(self) -> bool:
        """Whether `labelsTr` must hold a label map of the case; without need it must hold none."""
        return self.supervision.kind not in WITHOUT_MAP and self.boxes is None

    @property
    def can_score(self) -> bool:
        """Whether a prediction can be scored against these labels: complete maps, whose classes
        are all of the task's or some. Sparse marks, boxes and pseudo-labels are no reference."""
        return self.supervision.kind in ("full", "partial")
