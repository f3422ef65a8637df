"""FedAvgM against torch's SGD with momentum on the same pseudo-gradient."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.fedavgm import FedAvgM, Momentum
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.server_step import ServerStep
from tests.contracts.helpers import merged
from tests.federation.methods.server_rounds import ours, sent, theirs


@pytest.mark.parametrize(("learning_rate", "momentum"), [(1.0, 0.9), (0.3, 0.5), (1.0, 0.0)])
def test_fedavgm_is_torchs_sgd_with_momentum(learning_rate, momentum):
    torch.testing.assert_close(
        ours(Momentum(learning_rate=learning_rate, momentum=momentum)),
        theirs(lambda ws: torch.optim.SGD(ws, lr=learning_rate, momentum=momentum)),
        rtol=1e-12,
        atol=1e-12,
    )


def test_without_momentum_and_at_rate_one_fedavgm_is_fedavg():
    merge = ServerStep(Momentum(learning_rate=1.0, momentum=0.0))
    state = State(round=0, shared={"w": torch.linspace(-1, 1, 7)})
    replies = [
        Reply(site=r.site, tensors={"w": r.tensors["w"].float()}, cases=r.cases, loss=r.loss)
        for r in sent(0, state.shared["w"].double())
    ]
    mean = merged(METHODS["fedavg"].merge, state, replies).shared["w"]
    assert torch.equal(merged(merge, state, replies).shared["w"], mean)


def test_by_default_fedavgm_follows_a_steady_change_as_fedavg_does():
    momentum, velocity = Momentum(learning_rate=0.5, momentum=0.5), {"velocity": torch.zeros(1)}
    for step in range(40):
        update, velocity = momentum(torch.tensor([3.0]), velocity, step + 1)
    torch.testing.assert_close(update, torch.tensor([3.0]))


@pytest.mark.parametrize("settings", [FedAvgM(momentum=1.0), FedAvgM(learning_rate=0.0)])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match="learning_rate is"):
        settings.build()
