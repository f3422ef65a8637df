"""IOP-FL inside: the own model as the mean over rounds that the formula says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fednnunet.errors import InputError
from fednnunet.federation.methods.iop_fl import EMA
from fednnunet.federation.wire.messages import EvaluateInvite
from fednnunet.training.initial import initial_tensors
from tests.contracts.helpers import an_invite
from tests.federation.site_fakes import CONFIGURATION, ROUNDS, a_trainer
from tests.training.fakes import small_plan


def test_the_personal_model_is_the_mean_of_the_formula():
    network = nn.BatchNorm1d(2)
    site = SimpleNamespace(state=SimpleNamespace(network=network, memory={}))
    average = EMA(decay=0.25)
    wanted = None
    for value in (1.0, 5.0, -2.0):
        with torch.no_grad():
            network.weight.fill_(value)
            network.running_var.fill_(value + 3)
            network.num_batches_tracked += 1
        average.update(site)
        wanted = value if wanted is None else 0.25 * wanted + 0.75 * value
    own = average.model(network.state_dict(), site.state.memory)
    torch.testing.assert_close(own["weight"], torch.full((2,), wanted))
    torch.testing.assert_close(own["running_var"], torch.full((2,), wanted + 3))
    assert own["num_batches_tracked"] == 3


def test_it_is_not_changed_by_training_that_follows():
    network = nn.Linear(2, 1)
    site = SimpleNamespace(state=SimpleNamespace(network=network, memory={}))
    EMA(decay=0.1).update(site)
    before = {name: tensor.clone() for name, tensor in site.state.memory.items()}
    with torch.no_grad():
        network.weight += 1
    assert all(torch.equal(tensor, site.state.memory[name]) for name, tensor in before.items())


def test_before_any_round_it_is_the_network():
    tensors = {"weight": torch.tensor(2.0)}
    assert EMA(decay=0.1).model(tensors, {}) == tensors


def test_a_share_of_all_is_refused():
    with pytest.raises(InputError, match="decay is 1"):
        EMA(decay=1)


def test_the_personal_bundle_mixes_the_sites_rounds_and_not_what_was_merged(tmp_path):
    trainer = a_trainer(tmp_path, "one")
    shared = initial_tensors(small_plan()[0], CONFIGURATION, seed=0)
    sent = []
    for number in range(ROUNDS):
        sent.append(trainer.train(an_invite("iop_fl", shared, number)).tensors)
        shared = {name: tensor + 0.01 for name, tensor in sent[-1].items()}
    invite = EvaluateInvite(tensors=shared, run="", method="iop_fl", round=ROUNDS, personal=True)
    weights = trainer.bundle(invite).weights
    for name, first in sent[0].items():
        torch.testing.assert_close(weights[name], 0.1 * first + 0.9 * sent[1][name])
