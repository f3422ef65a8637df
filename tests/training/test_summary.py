"""Figures of a local training job."""

from __future__ import annotations

import pytest

from fednnunet.training.counts import DiceCounts
from fednnunet.training.summary import TrainSummary


@pytest.mark.parametrize(("seconds", "wait", "share"), [(4.0, 1.0, 0.25), (0.0, 0.0, 0.0)])
def test_the_share_of_time_that_waits_for_batches(seconds, wait, share):
    summary = TrainSummary(
        iterations=0,
        loss=0.0,
        learning_rate=0.0,
        seconds=seconds,
        wait_seconds=wait,
        memory_gib=0.0,
        micro_batch=1,
        dice=DiceCounts.empty(("a",)),
    )
    assert summary.wait_share == share
