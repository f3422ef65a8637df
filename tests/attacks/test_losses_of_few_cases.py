"""A coordinator that asks for rounds so short that the loss is that of one or two cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.wire.messages import TrainReply, pack, unpack
from fednnunet.training.initial import initial_tensors
from tests.federation.site_fakes import CONFIGURATION, INVITE, a_trainer
from tests.training.fakes import blobs


@pytest.mark.parametrize(
    ("cases", "iterations", "stated"),
    [(6, 1, False), (6, 2, False), (4, 20, False), (5, 20, True)],
)
def test_the_loss_of_a_round_with_few_cases_stays_at_the_site(tmp_path, cases, iterations, stated):
    """Two samples an iteration: 20 iterations meet every case."""
    store = blobs(cases)
    trainer = a_trainer(tmp_path, "one", store=store, cases=store.names, policy=SitePolicy())
    tensors = initial_tensors(trainer.plan, CONFIGURATION, seed=0)
    invite = replace(
        INVITE, tensors=tensors, method="fedavg", iterations=iterations, schedule_length=40
    )
    reply = unpack(pack(trainer.train(invite)), sender="one")
    assert isinstance(reply, TrainReply)
    assert (reply.loss is not None) is stated
