"""q-FFL by Dice loss: what is measured, and how sites are weighted by it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.qfedavg_dice import ByDiceLoss, QFedAvgDice
from fednnunet.federation.wire.extras import split
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.counts import DiceCounts
from fednnunet.training.initial import initial_tensors
from tests.contracts.helpers import an_invite, merged, weights_of
from tests.federation.methods.replies import NAME, a_reply, a_state
from tests.federation.site_fakes import CONFIGURATION, a_trainer


def test_the_dice_loss_is_one_minus_the_mean_dice_of_targets_that_are_there():
    counts = DiceCounts(names=("a", "b", "c"), tp=(6, 0, 0), fp=(2, 3, 0), fn=(2, 1, 0))
    assert counts.dice_loss == pytest.approx(1 - (12 / 16 + 0 / 4) / 2)
    assert DiceCounts.empty(("a", "b")).dice_loss == 1.0


def test_the_site_that_is_served_worse_counts_more():
    extras = {"dice_loss": torch.tensor([0.2])}
    replies = [
        a_reply("a", (0.0, 0.0), cases=2, extras=extras),
        a_reply("b", (1.0, 1.0), cases=1, extras={"dice_loss": torch.tensor([0.8])}),
    ]
    assert weights_of(ByDiceLoss(q=1.0), replies) == pytest.approx({"a": 0.4, "b": 0.8})
    assert weights_of(ByDiceLoss(q=0.0), replies) == {"a": 2.0, "b": 1.0}
    after = merged(QFedAvgDice().build().merge, a_state(), replies)
    torch.testing.assert_close(after.shared[NAME], torch.full((2,), 0.8 / 1.2))


def test_a_site_sends_its_dice_loss_and_trains_as_without(tmp_path):
    replies = {}
    for method in ("fedavg", "qfedavg_dice"):
        trainer = a_trainer(tmp_path / method, "one")
        first = initial_tensors(trainer.plan, CONFIGURATION, seed=0)
        replies[method] = trainer.train(an_invite(method, first, 0))
    tensors, extras = split(replies["qfedavg_dice"].tensors)
    assert all(torch.equal(t, tensors[name]) for name, t in replies["fedavg"].tensors.items())
    assert extras.keys() == {"dice_loss"}
    assert 0 < float(extras["dice_loss"]) <= 1


def test_the_dice_loss_is_that_of_the_received_model(tmp_path):
    """However long the site trains in the round, the number is the same."""
    numbers = []
    for iterations in (1, 3):
        trainer = a_trainer(tmp_path / str(iterations), "one")
        first = initial_tensors(trainer.plan, CONFIGURATION, seed=0)
        invite = replace(an_invite("qfedavg_dice", first, 0), iterations=iterations)
        numbers.append(float(split(trainer.train(invite).tensors)[1]["dice_loss"]))
    assert numbers[0] == numbers[1]


def test_a_site_without_labels_sends_0(tmp_path):
    trainer = a_trainer(tmp_path, "one")
    unlabelled = SiteSupervision(default=Supervision(kind="none"))
    trainer = replace(trainer, site=replace(trainer.site, supervision=unlabelled))
    first = initial_tensors(trainer.site.plan, CONFIGURATION, seed=0)
    reply = trainer.train(an_invite("qfedavg_dice", first, 0))
    assert float(split(reply.tensors)[1]["dice_loss"]) == 0.0


@pytest.mark.parametrize("q", [-1.0, math.nan])
def test_an_impossible_q_is_refused(q):
    with pytest.raises(InputError, match="q is"):
        QFedAvgDice(q=q).build()
