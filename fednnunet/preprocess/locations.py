"""Voxels of every class, from which training draws patches that hold foreground."""

from __future__ import annotations

import numpy as np

from fednnunet.preprocess.crop import OUTSIDE
from fednnunet.task import Task

_LEAST = 10_000
_SHARE = 0.01
_SEED = 1234


def class_locations(seg: np.ndarray, task: Task) -> np.ndarray:
    """Draw voxels of each foreground label of `seg` (z, y, x) without replacement.

    A class of n voxels gives max(min(10,000, n), 1 % of n). Returns int32 (m, 4): class, z, y, x.
    Where the task has an ignore label, class -1 stands for every annotated voxel.
    """
    rng = np.random.default_rng(_SEED)
    tables = [_draw(seg, value, rng) for value in range(1, len(task.labels))]
    if task.ignore is not None:
        tables.append(_draw(seg, OUTSIDE, rng, unlike=task.ignore))
    return np.concatenate(tables)


def _draw(
    seg: np.ndarray, value: int, rng: np.random.Generator, *, unlike: int | None = None
) -> np.ndarray:
    """Voxels where `seg` is `value`, or is not `unlike`, slice by slice to spare memory."""

    def found(z: int) -> np.ndarray:
        return seg[z] == value if unlike is None else seg[z] != unlike

    counts = np.array([np.count_nonzero(found(z)) for z in range(len(seg))])
    total = int(counts.sum())
    number = max(min(_LEAST, total), int(np.ceil(total * _SHARE)))
    picks = (
        np.sort(rng.choice(total, number, replace=False, shuffle=False)) if total else counts[:0]
    )
    table = np.empty((len(picks), 4), np.int32)
    table[:, 0] = value
    ends = np.cumsum(counts)
    done = 0
    for z in map(int, np.flatnonzero(counts)):
        upto = int(np.searchsorted(picks, ends[z]))
        if upto > done:
            chosen = np.flatnonzero(found(z))[picks[done:upto] - (ends[z] - counts[z])]
            table[done:upto, 1] = z
            table[done:upto, 2], table[done:upto, 3] = np.divmod(chosen, seg.shape[2])
            done = upto
    return table


def no_locations() -> np.ndarray:
    """The table of a case without label map."""
    return np.empty((0, 4), np.int32)
