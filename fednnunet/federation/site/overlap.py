"""Overlap on patches as a reply states it: of a target only where enough cases stand for it."""

from __future__ import annotations

from collections.abc import Collection

from fednnunet.evaluation.metrics import target_values
from fednnunet.supervision import SiteSupervision
from fednnunet.task import Task
from fednnunet.training.counts import DiceCounts

Rows = tuple[tuple[int, int, int], ...]


def shared_overlap(
    counts: DiceCounts,
    cases: Collection[str],
    supervision: SiteSupervision,
    task: Task,
    *,
    least: int,
) -> Rows:
    """The rows (tp, fp, fn) of counts over patches of `cases`; none for fewer than `least` cases.

    A target that fewer of these cases annotate counts as not annotated: its row could be that of
    one case. Boxes and cases without a map annotate no target.
    """
    if len(cases) < least:
        return ()
    kinds = [supervision.of(case) for case in cases]
    mapped = [kind for kind in kinds if kind.is_drawn]
    return tuple(
        row if sum(kind.covers(values, task) for kind in mapped) >= least else (0, 0, 0)
        for row, values in zip(counts.rows, target_values(task).values(), strict=True)
    )
