from __future__ import annotations

import torch

from fednnunet.federation.wire.limits import reply_limit
from fednnunet.federation.wire.messages import (
    MeasureInvite,
    ModelInvite,
    ProbeInvite,
    ShapesInvite,
    TrainInvite,
)
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "a"))


def an_invite(**tensors: torch.Tensor) -> TrainInvite:
    return TrainInvite(
        tensors=tensors,
        run="",
        method="fedavg",
        round=0,
        phase="joint",
        resume_round=0,
        iterations=1,
        schedule_start=0,
        schedule_length=1,
    )


def test_the_reply_to_a_round_grows_with_what_was_sent():
    small, large = an_invite(w=torch.zeros(10)), an_invite(w=torch.zeros(10**6))
    assert reply_limit(large) - reply_limit(small) == 4 * 4 * (10**6 - 10)
    assert reply_limit(an_invite(w=torch.zeros(10, dtype=torch.float64))) > reply_limit(small)


def test_a_model_may_be_larger_than_sums_and_these_larger_than_figures():
    model = reply_limit(ModelInvite(run="", method="fedavg", round=1))
    sums = reply_limit(MeasureInvite(task=TASK))
    figure = reply_limit(ProbeInvite(run="", method="fedavg", round=1))
    assert model > sums > figure
    assert reply_limit(ShapesInvite(spacing_mm=(1.0, 1.0, 1.0))) == sums
