"""Figures of a local training job."""

from __future__ import annotations

import statistics

import pytest

from fednnunet.training.counts import DiceCounts
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from fednnunet.training.summary import TrainSummary
from tests.training.fakes import CPU, small_plan, train_on_cpu


def a_summary(**changes) -> TrainSummary:
    values: dict = {
        "iterations": 0,
        "loss": 0.0,
        "learning_rate": 0.0,
        "seconds": 0.0,
        "wait_seconds": 0.0,
        "memory_gib": 0.0,
        "micro_batch": 1,
        "dice": DiceCounts.empty(("a",)),
    }
    return TrainSummary(**{**values, **changes})


@pytest.mark.parametrize(("seconds", "wait", "share"), [(4.0, 1.0, 0.25), (0.0, 0.0, 0.0)])
def test_the_share_of_time_that_waits_for_batches(seconds, wait, share):
    assert a_summary(seconds=seconds, wait_seconds=wait).wait_share == share


def test_the_spread_of_the_losses_is_their_standard_deviation():
    whole, parts = (new_state(*small_plan(), RECIPES["fast"], CPU, seed=1) for _ in range(2))
    losses = [train_on_cpu(parts, iterations=1).loss for _ in range(3)]
    summary = train_on_cpu(whole, iterations=3)
    assert summary.loss == pytest.approx(statistics.fmean(losses), rel=1e-5)
    assert summary.loss_spread == pytest.approx(statistics.pstdev(losses), rel=1e-4)
    assert summary.loss_spread > 0
