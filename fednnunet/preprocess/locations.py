"""Sample voxels of each class, for patches that are guaranteed to contain foreground."""

from __future__ import annotations

import numpy as np

from fednnunet.preprocess.crop import OUTSIDE
from fednnunet.task import Task

_MIN_VOXELS = 10_000
_SHARE = 0.01
_SEED = 1234


def class_locations(seg: np.ndarray, task: Task) -> np.ndarray:
    """Sample voxels of each foreground label of `seg` (z, y, x) without replacement.

    A class with n voxels gives max(min(10,000, n), 1 % of n) of them. Returns int32 (m, 4): class,
    z, y, x. If the task has an ignore label, class -1 holds samples of all annotated voxels.
    """
    rng = np.random.default_rng(_SEED)
    tables = [_sample(seg, value, rng) for value in range(1, len(task.labels))]
    if task.ignore is not None:
        tables.append(_sample(seg, OUTSIDE, rng, other_than=task.ignore))
    return np.concatenate(tables)


def _sample(
    seg: np.ndarray, value: int, rng: np.random.Generator, *, other_than: int | None = None
) -> np.ndarray:
    """Voxels with `seg == value`, or `seg != other_than`; slice by slice, to save memory."""

    def found(z: int) -> np.ndarray:
        return seg[z] == value if other_than is None else seg[z] != other_than

    counts = np.array([np.count_nonzero(found(z)) for z in range(len(seg))])
    total = int(counts.sum())
    number = max(min(_MIN_VOXELS, total), int(np.ceil(total * _SHARE)))
    chosen = (
        np.sort(rng.choice(total, number, replace=False, shuffle=False)) if total else counts[:0]
    )
    table = np.empty((len(chosen), 4), np.int32)
    table[:, 0] = value
    ends = np.cumsum(counts)
    done = 0
    for z in map(int, np.flatnonzero(counts)):
        upto = int(np.searchsorted(chosen, ends[z]))
        if upto > done:
            flat = np.flatnonzero(found(z))[chosen[done:upto] - (ends[z] - counts[z])]
            table[done:upto, 1] = z
            table[done:upto, 2], table[done:upto, 3] = np.divmod(flat, seg.shape[2])
            done = upto
    return table


def no_locations() -> np.ndarray:
    """The empty table of a case without a label map."""
    return np.empty((0, 4), np.int32)
