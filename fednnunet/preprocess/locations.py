"""Sample voxels of each class, for patches that are guaranteed to contain foreground."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fednnunet.preprocess.crop import OUTSIDE
from fednnunet.supervision import SPARSE, UNKNOWN, WITHOUT_MAP, SupervisionKind
from fednnunet.task import Task

_MIN_VOXELS = 10_000
_SHARE = 0.01
_SEED = 1234


def class_locations(seg: np.ndarray, task: Task, kind: SupervisionKind = "full") -> np.ndarray:
    """Sample voxels of each foreground label of `seg` (z, y, x) without replacement.

    A class with n voxels gives max(min(10,000, n), 1 % of n) of them; of boxes, those inside the
    class's boxes. Returns int32 (m, 4): class, z, y, x. If voxels may be unknown, or the task has
    an ignore label, class -1 holds samples of all annotated voxels. A case without a map has none.
    """
    if kind in WITHOUT_MAP:
        return no_locations()
    rng = np.random.default_rng(_SEED)
    values = range(1, len(task.labels))
    if kind == "box":
        inside = [_has_bit(1 << (value - 1)) for value in values]
        return np.concatenate(
            [_sample(seg, v, rng, bit) for v, bit in zip(values, inside, strict=True)]
        )
    tables = [_sample(seg, value, rng, _equals(value)) for value in values]
    unknown = {UNKNOWN} if kind in SPARSE else set()
    unknown |= set() if task.ignore is None else {task.ignore}
    if unknown:
        tables.append(_sample(seg, OUTSIDE, rng, _is_none_of(unknown)))
    return np.concatenate(tables)


_Test = Callable[[np.ndarray], np.ndarray]  # of the voxels of a slice


def _equals(value: int) -> _Test:
    return lambda plane: plane == value


def _has_bit(bit: int) -> _Test:
    return lambda plane: (plane & bit) != 0


def _is_none_of(values: set[int]) -> _Test:
    return lambda plane: np.logical_and.reduce([plane != value for value in values])


def _sample(seg: np.ndarray, value: int, rng: np.random.Generator, test: _Test) -> np.ndarray:
    """Voxels of `seg` that pass a test, under a class; slice by slice, to save memory."""

    def found(z: int) -> np.ndarray:
        return test(seg[z])

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
    """The empty table of a case of which no voxel is known."""
    return np.empty((0, 4), np.int32)
