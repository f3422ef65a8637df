"""Dice of patches as counts of voxels, which add up over batches, rounds and sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.supervision import Supervision
from fednnunet.training.batches import Batch, take
from fednnunet.training.targets import Targets


def dice_of(tp: int, fp: int, fn: int) -> float | None:
    """Dice from counts of voxels, 2 tp / (2 tp + fp + fn); `None` where there is none to count."""
    voxels = 2 * tp + fp + fn
    return 2 * tp / voxels if voxels else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiceCounts:
    """Voxels per target: true positives `tp`, false positives `fp` and false negatives `fn`.

    `names` are the task's targets. Targets that are not annotated have counts of 0.
    """

    names: tuple[str, ...]
    tp: tuple[int, ...]
    fp: tuple[int, ...]
    fn: tuple[int, ...]

    @classmethod
    def empty(cls, names: tuple[str, ...]) -> DiceCounts:
        """Nothing counted."""
        zero = (0,) * len(names)
        return cls(names=names, tp=zero, fp=zero, fn=zero)

    def __add__(self, other: DiceCounts) -> DiceCounts:
        if self.names != other.names:
            raise InputError(
                f"counts of {list(self.names)} and {list(other.names)} cannot be added",
                mend="add counts of one task",
            )
        tp, fp, fn = (
            tuple(a + b for a, b in zip(getattr(self, f), getattr(other, f), strict=True))
            for f in ("tp", "fp", "fn")
        )
        return DiceCounts(names=self.names, tp=tp, fp=fp, fn=fn)

    @property
    def rows(self) -> tuple[tuple[int, int, int], ...]:
        """True positives, false positives and false negatives of each target."""
        return tuple(zip(self.tp, self.fp, self.fn, strict=True))

    @property
    def dice(self) -> dict[str, float]:
        """Dice per target; a target that is neither there nor predicted is left out."""
        found = {name: dice_of(*row) for name, row in zip(self.names, self.rows, strict=True)}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def mean(self) -> float | None:
        """Mean Dice over the targets that count, `None` if there is none."""
        values = self.dice.values()
        return sum(values) / len(values) if values else None

    @property
    def dice_loss(self) -> float:
        """1 - mean Dice, from 0 (best) to 1; 1 where no target counts."""
        mean = self.mean
        return 1.0 if mean is None else 1 - mean


def count_dice(logits: Tensor, labels: Tensor, targets: Targets) -> Tensor:
    """tp, fp and fn of each of the task's targets, int64 (3, targets); logits (b, k, z, y, x).

    They stay on the device, so that counting does not make the GPU wait; see `as_counts`.
    """
    if not targets.scored:
        return torch.zeros((3, len(targets.names)), dtype=torch.int64, device=labels.device)
    found, truth = found_and_true(logits, labels, targets)
    axes = (0, *range(2, truth.ndim))
    planes = (found & truth, found & ~truth, ~found & truth)
    counts = torch.stack([plane.sum(axes) for plane in planes])
    out = counts.new_zeros((3, len(targets.names)))
    for column, scored in enumerate(targets.scored):  # a list as index would make a GPU wait
        out[:, scored] = counts[:, column]
    return out


def found_and_true(logits: Tensor, labels: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Where each scored target is predicted, and where labels say it is: booleans (b, t, z, y, x).

    Voxels that do not count are in neither.
    """
    truth = targets.indicators(labels)
    if targets.regions:
        found = torch.stack([logits[:, output] > 0 for (output,) in targets.outputs], 1)
    else:
        best, truth = logits.argmax(1), truth[:, 1:]
        found = torch.stack([best == group[0] for group in targets.groups[1:]], 1)
    valid = targets.valid(labels)
    if valid is not None:
        found, truth = found & valid[:, None], truth & valid[:, None]
    return found, truth


def count_batch(logits: Tensor, batch: Batch, targets: Mapping[Supervision, Targets]) -> Tensor:
    """As `count_dice`, each sample counted by the targets of its own supervision."""
    parts = [
        count_dice(take(logits, rows), take(batch.labels, rows), targets[supervision])
        for supervision, rows in batch.by_supervision()
    ]
    return reduce(torch.add, parts)


def as_counts(table: Tensor, names: tuple[str, ...]) -> DiceCounts:
    """A table of `count_dice` as a value."""
    tp, fp, fn = (tuple(int(v) for v in row) for row in table.cpu().tolist())
    return DiceCounts(names=names, tp=tp, fp=fp, fn=fn)
