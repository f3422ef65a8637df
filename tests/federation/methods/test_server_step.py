"""What all server optimisers keep to: what they step, and what they leave to the mean."""

from __future__ import annotations

import pytest
import torch

from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.fedavgm import Momentum
from fednnunet.federation.methods.mean import MeanBy, uniform
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.server_step import ServerStep
from tests.contracts.helpers import merged
from tests.federation.methods.server_rounds import sent


@pytest.mark.parametrize("name", ["fedavgm", "fedadam"])
def test_a_standstill_decays_what_momentum_is_left(name):
    """Replies equal to the shared tensors move it by the momentum alone, less every round."""
    merge = METHODS[name].merge
    state = merged(merge, State(round=0, shared={"w": torch.zeros(1)}), [reply(1.0)])
    shifts = []
    for _ in range(60):
        new = merged(merge, state, [reply(float(state.shared["w"]))])
        shifts.append(abs(float(new.shared["w"] - state.shared["w"])))
        state = new
    assert 0 < shifts[0] < 1
    assert shifts == sorted(shifts, reverse=True)
    assert shifts[-1] < 0.02 * shifts[0]


def reply(value: float) -> Reply:
    return Reply(site="a", tensors={"w": torch.tensor([value])}, cases=1, loss=1.0)


@pytest.mark.parametrize("name", ["fedavgm", "fedadam"])
def test_running_statistics_and_counters_are_averaged_not_stepped(name):
    merge = METHODS[name].merge
    keys = ("encoder.0.norm.running_mean", "encoder.0.norm.running_var")
    old = {key: torch.tensor([8.0]) for key in keys} | {"encoder.0.n": torch.tensor(1)}
    new = {key: torch.tensor([0.5]) for key in keys} | {"encoder.0.n": torch.tensor(9)}
    state = State(round=0, shared=old)
    for _ in range(3):
        state = merged(merge, state, [Reply(site="a", tensors=new, cases=2, loss=1.0)])
    assert all(torch.equal(state.shared[key], tensor) for key, tensor in new.items())
    assert not state.memory


def test_a_server_step_takes_any_mean():
    replies = sent(0, torch.zeros(7, dtype=torch.float64))
    start = State(round=0, shared={"w": torch.zeros(7, dtype=torch.float64)})
    merge = ServerStep(Momentum(learning_rate=1.0, momentum=0.0), mean=MeanBy(uniform))
    stepped = merged(merge, start, replies)
    expected = (replies[0].tensors["w"] + replies[1].tensors["w"]) / 2
    torch.testing.assert_close(stepped.shared["w"], expected)
