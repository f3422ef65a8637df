"""When a network is replayed as CUDA graphs; the replay itself needs a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.device import Device
from fednnunet.training import graphs
from fednnunet.training.graphs import (
    MIN_ITERATIONS,
    Replay,
    _Supervised,
    is_replayable,
    prepare,
)
from fednnunet.training.local_rule import LocalRule
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from fednnunet.training.step import make_stepper
from tests.training.fakes import CPU, a_job, small_plan

GPU = replace(CPU, graphs=True, micro_batch=2)


def a_state(**plan):
    return new_state(*small_plan(**plan), RECIPES["fast"], CPU, seed=1)


def a_stepper(execution=GPU, ranks=1, **changes):
    job = a_job(**{"iterations": MIN_ITERATIONS, **changes})
    return make_stepper(job, execution, ranks=ranks)


def test_a_plain_job_of_some_length_is_replayed():
    assert is_replayable(a_state(), a_stepper())


@pytest.mark.parametrize(
    "stepper",
    [
        a_stepper(CPU),
        a_stepper(replace(GPU, compile=True)),
        a_stepper(replace(GPU, micro_batch=1)),
        a_stepper(ranks=2),
        a_stepper(iterations=MIN_ITERATIONS - 1),
        a_stepper(local_rule=LocalRule(features=True)),
        a_stepper(local_rule=LocalRule(gradient_rules=(lambda *args: None,))),
        a_stepper(plan=small_plan(norm="batch")[0]),
    ],
)
def test_whatever_a_replay_would_get_wrong_is_launched_as_ever(stepper):
    assert not is_replayable(a_state(), stepper)


def test_a_runner_of_others_is_left_alone():
    state = a_state()
    state.runner = state.network.forward
    prepare(state, a_stepper())
    assert state.runner == state.network.forward


def recorded(monkeypatch, state, stepper):
    """A replay whose recording is the module itself."""
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", lambda module, *_, **__: module)
    prepare(state, stepper)
    assert isinstance(state.runner, Replay)
    return state.runner


def test_it_is_recorded_once_and_anew_for_other_parameters(monkeypatch):
    state, stepper = a_state(), a_stepper()
    first = recorded(monkeypatch, state, stepper)
    assert recorded(monkeypatch, state, stepper) is first
    next(state.network.parameters()).requires_grad_(False)
    assert recorded(monkeypatch, state, stepper) is not first
    prepare(state, a_stepper(iterations=1))
    assert state.runner is None


def test_it_gives_what_the_loss_sees(monkeypatch):
    state = a_state(features=(4, 8, 8, 8))
    job = {"recipe": RECIPES["nnunet"], "plan": (plan := small_plan(features=(4, 8, 8, 8)))[0]}
    replay = recorded(monkeypatch, state, a_stepper(**job, configuration=plan[1]))
    state.network.train()
    image = torch.randn(2, 1, 8, 8, 8)
    wanted = state.network(image)
    assert len(wanted) == 3
    assert all(torch.equal(a, b) for a, b in zip(replay(image), wanted[:2], strict=True))
    assert len(replay(image[:1])) == 3


def test_a_recording_that_does_not_fit_leaves_the_network_as_it_is(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", full)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    state = a_state()
    prepare(state, a_stepper())
    assert state.runner is None
    graphs.forget(state)


def test_heads_that_no_loss_sees_get_no_gradient():
    network = a_state(features=(4, 8, 8, 8)).network.train()
    (logits,) = _Supervised(network, 1)(torch.randn(1, 1, 8, 8, 8))
    logits.sum().backward()
    assert network.get_parameter("heads.1.weight").grad is None


def test_one_channel_is_told_to_be_last():
    image = Device(name="cuda").arrange(torch.randn(2, 1, 4, 5, 6))
    assert image.stride() == (120, 1, 30, 6, 1)
    assert image.is_contiguous(memory_format=torch.channels_last_3d)
    two = Device(name="cuda").arrange(torch.randn(2, 2, 4, 5, 6))
    assert two.stride(1) == 1
    plain = torch.randn(2, 1, 4, 5, 6)
    assert Device().arrange(plain) is plain
    assert Device(name="cuda", channels_last=False).arrange(plain) is plain
