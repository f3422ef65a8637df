"""Post-processing of masks: which connected components of each target are kept.

As in nnU-Net (Isensee et al., Nature Methods 18, 2021): small pieces apart from the rest are often
false. Whether to remove them is decided for each target on held-out cases. Components are connected
by faces, edges and corners; what is removed becomes background.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from fednnunet.errors import InputError
from fednnunet.evaluation.metrics import target_values
from fednnunet.ranges import AtMost, Within, check_ranges
from fednnunet.task import Task
from fednnunet.text import markdown

MIN_MM3 = (10.0, 100.0, 1000.0)
"""The minimum sizes that are tried."""

_MEND = "give coordinator and sites the same version of the program"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRule:
    """Which components of one target are kept."""

    largest: bool = False
    """Only the largest one."""
    min_mm3: Annotated[float, Within(0, 1e9)] = 0.0
    """Only those of at least this volume."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend=_MEND)

    @property
    def words(self) -> str:
        """What is kept, in words."""
        if self.largest:
            return "only the largest component"
        return f"only components of at least {self.min_mm3:g} mm3" if self.min_mm3 else "everything"


TRIED = (TargetRule(largest=True), *(TargetRule(min_mm3=size) for size in MIN_MM3))
"""The rules that are tried for each target, in the order of preference where they are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postprocessing:
    """What is kept of a mask: first of all its foreground together, then of each target."""

    foreground: bool = False
    """Only the largest component of all foreground together."""
    targets: Annotated[dict[str, TargetRule], AtMost(4096)] = field(default_factory=dict)
    """By name; of other targets everything is kept."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend=_MEND)

    def __bool__(self) -> bool:
        """Whether anything may be removed."""
        return self.foreground or any(rule != TargetRule() for rule in self.targets.values())

    def check(self, task: Task) -> None:
        """Raise InputError for a target that the task does not have."""
        if unknown := sorted(self.targets.keys() - set(task.targets)):
            raise InputError(
                f"the post-processing names {len(unknown)} targets that the task does not have",
                mend=_MEND,
            )

    def apply(
        self, mask: np.ndarray, spacing_mm: tuple[float, float, float], task: Task
    ) -> np.ndarray:
        """A mask (z, y, x) without what is removed; a copy if anything is."""
        if not self:
            return mask
        result = mask.copy()
        if self.foreground:
            _remove(result, result > 0, TargetRule(largest=True), 1.0)
        voxel_mm3 = float(np.prod(spacing_mm))
        for name, values in target_values(task).items():
            rule = self.targets.get(name, TargetRule())
            if rule != TargetRule():
                _remove(result, np.isin(result, values), rule, voxel_mm3)
        return result

    def words(self, task: Task) -> list[str]:
        """What is kept, in words, a line for each rule."""
        lines = ["of all foreground together: only the largest component"] * self.foreground
        rules = [(name, self.targets.get(name, TargetRule())) for name in task.targets]
        return lines + [f"{markdown(name)}: {rule.words}" for name, rule in rules]


def for_every_target(task: Task, rule: TargetRule, *, foreground: bool) -> Postprocessing:
    """One rule for all targets, with which its effect on each of them is measured at once."""
    rules = {} if rule == TargetRule() else dict.fromkeys(task.targets, rule)
    return Postprocessing(foreground=foreground, targets=rules)


def is_tried(rule: Postprocessing, task: Task) -> bool:
    """Whether a rule is made of nothing but what is tried, for targets of the task."""
    known = rule.targets.keys() <= set(task.targets)
    return known and all(each in (*TRIED, TargetRule()) for each in rule.targets.values())


def _remove(mask: np.ndarray, inside: np.ndarray, rule: TargetRule, voxel_mm3: float) -> None:
    """Set the components of `inside` that the rule does not keep to 0, in place."""
    import cc3d

    if not inside.any():
        return
    parts = cc3d.connected_components(inside, connectivity=26, binary_image=True)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = sizes * voxel_mm3 >= rule.min_mm3
    if rule.largest:
        kept &= np.arange(len(sizes)) == sizes.argmax()
    kept[0] = True
    if not kept.all():
        mask[~kept[parts]] = 0
