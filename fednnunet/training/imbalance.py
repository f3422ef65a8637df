"""Settings against rare classes: the table `[training.imbalance]`, and the numbers it leads to.

Counts n_c are the numbers of cases in which each label occurs over all sites, which the plan holds
(`Plan.label_cases`); the background occurs in all. Cases are counted, not voxels, since those of
one case say much the same, which is what the effective number is about. Nothing new leaves a site.

* `effective_number`, b: Cui et al., "Class-Balanced Loss Based on Effective Number of Samples",
  CVPR 2019. The cross-entropy of a voxel of class c counts by

      w_c = C / s * (1 - b) / (1 - b^n_c),  s so that the C weights have the mean 1.

* `margin`, m: the label-distribution-aware margin of Cao et al., "Learning Imbalanced Datasets with
  Label-Distribution-Aware Margin Loss", NeurIPS 2019. The cross-entropy of a voxel of class c is
  taken with its own class's logit lowered by

      D_c = m * (n_min / n_c)^(1/4),

  so that the rarest class has the margin m. The counts are those of all sites, since one site may
  have too few of its own. Dice is of the logits as they are.
* `difficulty`, g: after Wu et al., "FedIIC: Towards Robust Federated Learning for Class-Imbalanced
  Medical Image Classification", MICCAI 2023, where classes that are hard for the global model weigh
  more. With l_c the mean cross-entropy of the voxels of class c in a patch, they count by

      w_c = (l_c / mean over the patch's classes of l)^g.

  FedIIC measures difficulty over whole sites and sends it; here it is that of each patch, so that
  nothing is sent and no batch depends on how it is divided.
* `balanced_classes`: a patch that is centred on foreground takes a class uniformly among those
  that the site has, then a case that has it, then a voxel. nnU-Net takes the case first, so that of
  two classes the one that one case in five has is the centre of a tenth of such patches.
  Class-aware sampling: Shen et al., "Relay Backpropagation for Effective Learning of Deep
  Convolutional Neural Networks", ECCV 2016.
* `copy_paste`: see `copy_paste`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fednnunet.errors import InputError
from fednnunet.planning.plan import Plan
from fednnunet.ranges import Within, check_ranges
from fednnunet.task import Task
from fednnunet.text import choices


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassBalance:
    """What a training does against rare classes; by default nothing.

    `weights` and `margins` hold one number for each label value, background first, or are empty;
    `copied` are the label values of lesions that are pasted.
    """

    weights: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
    difficulty: float = 0.0
    balanced_classes: bool = False
    copied: tuple[int, ...] = ()
    copy_chance: float = 0.0

    def of_groups(self, groups: Sequence[Sequence[int]]) -> GroupBalance:
        """Weights and margins of groups of label values: those of each one's commonest value."""
        return GroupBalance(
            weights=tuple(min(self.weights[v] for v in g) for g in groups if self.weights),
            margins=tuple(min(self.margins[v] for v in g) for g in groups if self.margins),
            difficulty=self.difficulty,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBalance:
    """What a loss does against rare classes: numbers for each of its groups, or none."""

    weights: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
    difficulty: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.weights or self.margins or self.difficulty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imbalance:
    """Settings against rare classes; each is off by default."""

    effective_number: Annotated[float, Within(0, 0.99999)] = 0.0
    """Weights of classes in the cross-entropy by the effective number of cases, with this base
    (Cui's beta; 0.9 to 0.999); 0 weighs all alike."""
    margin: Annotated[float, Within(0, 10)] = 0.0
    """Margin of the rarest class in the cross-entropy, in logits (0.5 in LDAM); commoner ones have
    less, by the fourth root of their cases."""
    difficulty: Annotated[float, Within(0, 4)] = 0.0
    """Exponent of the weights of classes by their mean cross-entropy in a patch; 0 for none."""
    balanced_classes: bool = False
    """Patches centred on foreground take a class first, then one of the cases that have it."""
    copy_paste: tuple[str, ...] = ()
    """Labels of lesions that are copied between the site's own fully labelled cases."""
    copy_paste_chance: Annotated[float, Within(0, 1)] = 0.3
    """Chance that a patch gets such a lesion."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.imbalance]")

    def check_task(self, task: Task) -> None:
        """Raise InputError for a label in `copy_paste` that the task does not have."""
        if unknown := sorted(set(self.copy_paste) - set(task.labels[1:])):
            raise InputError(
                f"copy_paste names {unknown[0]!r}, which the task does not",
                where="training.imbalance.copy_paste",
                mend=choices(unknown[0], task.labels[1:]),
            )

    def balance(self, plan: Plan) -> ClassBalance:
        """The numbers for a plan; raises InputError where they need counts that it does not have.

        Labels that no case has count like those of one case.
        """
        labels = plan.task.labels
        if (self.effective_number or self.margin) and not plan.label_cases:
            raise InputError(
                "the plan does not say in how many cases each label occurs",
                mend="make the plan again with fednnunet_plan, or leave effective_number and "
                "margin at 0",
            )
        counts = [max(plan.cases, 1), *(max(plan.label_cases.get(n, 0), 1) for n in labels[1:])]
        base, margin = self.effective_number, self.margin
        return ClassBalance(
            weights=effective_number_weights(counts, base) if base else (),
            margins=label_margins(counts, margin) if margin else (),
            difficulty=self.difficulty,
            balanced_classes=self.balanced_classes,
            copied=tuple(labels.index(name) for name in self.copy_paste),
            copy_chance=self.copy_paste_chance if self.copy_paste else 0.0,
        )


def effective_number_weights(counts: Sequence[int], base: float) -> tuple[float, ...]:
    """(1 - b) / (1 - b^n) of each count n (1 or more), divided by their mean; 0 <= b < 1."""
    raw = [(1 - base) / (1 - base**count) for count in counts]
    return tuple(value * len(raw) / sum(raw) for value in raw)


def label_margins(counts: Sequence[int], margin: float) -> tuple[float, ...]:
    """`margin` times the fourth root of the smallest count over each count (1 or more)."""
    return tuple(margin * (min(counts) / count) ** 0.25 for count in counts)
