"""The settings of what happens between two rounds."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.extrapolation import FACTOR
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.step import (
    AfterAlone,
    NesterovMomentum,
    StepBetweenRounds,
    stepped_merge,
)
from fednnunet.federation.training_spec import Training
from tests.contracts.helpers import merged
from tests.federation.fakes import PretendEngine, a_run, go
from tests.federation.methods.server_rounds import ours, theirs


def test_nesterov_is_torchs_sgd_on_the_mean_update():
    step = partial(NesterovMomentum, learning_rate=0.7, momentum=0.5)
    sgd = partial(torch.optim.SGD, lr=0.7, momentum=0.5, nesterov=True)
    torch.testing.assert_close(ours(step()), theirs(sgd))


def test_without_settings_a_method_merges_as_it_did():
    for name in METHODS:
        training = Training(method=name)
        assert training.merge(training.runs[""]) == training.runs[""].build().merge


@pytest.mark.parametrize("method", ["fedavg", "fedbn_head", "fedprox", "fedease", "similarity"])
@pytest.mark.parametrize("server", ["fedexp", "nesterov"])
def test_the_servers_step_reaches_into_a_method(tmp_path, method, server):
    step = StepBetweenRounds(server=server)
    plain = go(a_run(tmp_path / "a", method), PretendEngine())
    stepped = go(a_run(tmp_path / "b", method, step=step), PretendEngine())
    if server == "fedexp":  # the pretended updates agree, so that the step is FedAvg's
        assert float(stepped.memory[FACTOR]) == 1.0
    else:
        assert any(not torch.equal(t, stepped.shared[n]) for n, t in plain.shared.items())
        assert any(name.startswith("velocity/") for name in stepped.memory)


def test_a_method_without_a_mean_is_refused_by_name():
    with pytest.raises(InputError, match="method scaffold takes no mean"):
        Training(method="scaffold", step=StepBetweenRounds(server="fedexp"))


def test_in_the_first_rounds_every_site_keeps_what_it_sent():
    merge = stepped_merge(
        METHODS["fedavg"].merge, StepBetweenRounds(alone_rounds=2), method="fedavg"
    )
    assert isinstance(merge, AfterAlone)
    state = State(round=0, shared={"w": torch.zeros(1)})
    sent = [
        Reply(site=site, tensors={"w": torch.tensor([value])}, cases=1, loss=1.0)
        for site, value in (("a", 1.0), ("b", 3.0))
    ]
    for _ in range(2):
        state = merged(merge, state, sent)
        assert float(state.received("a")["w"]) == 1.0 and float(state.received("b")["w"]) == 3.0
    state = merged(merge, state, sent)
    assert float(state.received("a")["w"]) == float(state.received("b")["w"]) == 2.0


def test_the_learning_rate_may_follow_the_number_of_sites():
    usual, fixed = StepBetweenRounds(), StepBetweenRounds(site_learning_rate=1.5)
    assert usual.learning_rate_factor(3, scaled=True) == pytest.approx(3**0.5)
    assert usual.learning_rate_factor(30, scaled=True) == 2.0
    assert usual.learning_rate_factor(3, scaled=False) == 1.0
    assert fixed.learning_rate_factor(3, scaled=True) == 1.5
    assert fixed.learning_rate_factor(3, scaled=False) == 1.5


@pytest.mark.parametrize("settings", [{"bound": 0.5}, {"momentum": 1.0}, {"alone_rounds": -1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        StepBetweenRounds(**settings)
