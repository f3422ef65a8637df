"""Dice of patches as counts that add up over batches, rounds and sites."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.training.targets import Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class DiceCounts:
    """Voxels per target that are found (`tp`), wrongly found (`fp`) and `fn`.

    `names` are the task's targets. Targets that a site has not annotated count nothing.
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
        """Hit, extra and missed of each target."""
        return tuple(zip(self.tp, self.fp, self.fn, strict=True))

    @property
    def dice(self) -> dict[str, float]:
        """Dice per target; a target that is neither there nor found is left out."""
        rows = zip(self.names, self.tp, self.fp, self.fn, strict=True)
        return {n: 2 * h / (2 * h + e + m) for n, h, e, m in rows if h + e + m}

    @property
    def mean(self) -> float | None:
        """Mean Dice over the targets that count, `None` if there is none."""
        values = self.dice.values()
        return sum(values) / len(values) if values else None


def count_dice(logits: Tensor, labels: Tensor, targets: Targets) -> Tensor:
    """Counts (3, targets of the task) of hits, extras and misses; logits (b, k, ...), int64.

    They stay on the device, so that counting does not make the GPU wait; see `as_counts`.
    """
    truth = targets.indicators(labels)
    if targets.regions:
        found = logits[:, [o for (o,) in targets.outputs]] > 0
    else:
        best, truth = logits.argmax(1), truth[:, 1:]
        found = torch.stack([best == group[0] for group in targets.groups[1:]], 1)
    valid = targets.valid(labels)
    if valid is not None:
        found, truth = found & valid[:, None], truth & valid[:, None]
    axes = (0, *range(2, truth.ndim))
    planes = (found & truth, found & ~truth, ~found & truth)
    here = torch.stack([plane.sum(axes) for plane in planes])
    out = here.new_zeros((3, len(targets.names)))
    out[:, list(targets.scored)] = here
    return out


def as_counts(table: Tensor, names: tuple[str, ...]) -> DiceCounts:
    """A table of `count_dice` as a value."""
    tp, fp, fn = (tuple(int(v) for v in row) for row in table.cpu().tolist())
    return DiceCounts(names=names, tp=tp, fp=fp, fn=fn)
