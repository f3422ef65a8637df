"""Server optimisers against torch's on the same pseudo-gradient, and by their own formulae."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.fedadam import Adam
from fednnunet.federation.methods.fedavgm import Momentum
from fednnunet.federation.methods.method import MeanBy, Reply, State
from fednnunet.federation.methods.server_step import Optimiser, ServerStep
from fednnunet.federation.methods.weighting import uniform

ROUNDS = 6
CASES = (5, 11)


def sent(number: int, x: torch.Tensor) -> list[Reply]:
    """Two sites' replies, each off `x` by changes of its own in every round."""
    generator = torch.Generator().manual_seed(number)
    changes = [torch.randn(7, generator=generator, dtype=torch.float64) for _ in CASES]
    return [
        Reply(site=f"s{i}", tensors={"w": x + changes[i]}, cases=cases, loss=1.0)
        for i, cases in enumerate(CASES)
    ]


def ours(optimiser: Optimiser) -> torch.Tensor:
    merge = ServerStep(optimiser)
    state = State(round=0, shared={"w": torch.linspace(-1, 1, 7, dtype=torch.float64)})
    for number in range(ROUNDS):
        state = merge(state, sent(number, state.shared["w"]))
    return state.shared["w"]


def theirs(make) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 7, dtype=torch.float64))
    optimiser = make([weight])
    for number in range(ROUNDS):
        replies = sent(number, weight.detach().clone())
        mean = sum(reply.tensors["w"] * reply.cases for reply in replies) / sum(CASES)
        weight.grad = weight.detach() - mean
        optimiser.step()
    return weight.detach()


@pytest.mark.parametrize(("learning_rate", "momentum"), [(1.0, 0.9), (0.3, 0.5), (1.0, 0.0)])
def test_fedavgm_is_torchs_sgd_with_momentum(learning_rate, momentum):
    torch.testing.assert_close(
        ours(Momentum(learning_rate=learning_rate, momentum=momentum)),
        theirs(lambda ws: torch.optim.SGD(ws, lr=learning_rate, momentum=momentum)),
        rtol=1e-12,
        atol=1e-12,
    )


def test_fedadam_with_its_bias_corrected_is_torchs_adam():
    torch.testing.assert_close(
        ours(Adam(learning_rate=0.02, beta1=0.8, beta2=0.95, adaptivity=1e-3, correct_bias=True)),
        theirs(lambda ws: torch.optim.Adam(ws, lr=0.02, betas=(0.8, 0.95), eps=1e-3)),
        rtol=1e-11,
        atol=1e-12,
    )


def test_fedadam_as_published_takes_its_formulas_first_step():
    adam = Adam(learning_rate=0.02, beta1=0.9, beta2=0.99, adaptivity=1e-3)
    change = torch.tensor([0.5, -2.0, 0.0], dtype=torch.float64)
    zero = torch.zeros_like(change)
    update, moments = adam(change, {"first": zero, "second": zero}, 1)
    expected = 0.02 * (0.1 * change) / (0.1 * change.abs() + 1e-3)
    torch.testing.assert_close(update, expected)
    torch.testing.assert_close(moments["first"], 0.1 * change)
    torch.testing.assert_close(moments["second"], 0.01 * change.square())


def test_without_momentum_and_at_rate_one_fedavgm_is_fedavg():
    merge = ServerStep(Momentum(learning_rate=1.0, momentum=0.0))
    state = State(round=0, shared={"w": torch.linspace(-1, 1, 7)})
    replies = [
        Reply(site=r.site, tensors={"w": r.tensors["w"].float()}, cases=r.cases, loss=r.loss)
        for r in sent(0, state.shared["w"].double())
    ]
    mean = METHODS["fedavg"].merge(state, replies).shared["w"]
    assert torch.equal(merge(state, replies).shared["w"], mean)


def test_by_default_fedavgm_follows_a_steady_change_as_fedavg_does():
    momentum, velocity = Momentum(), {"velocity": torch.zeros(1)}
    for step in range(40):
        update, velocity = momentum(torch.tensor([3.0]), velocity, step + 1)
    torch.testing.assert_close(update, torch.tensor([3.0]))


@pytest.mark.parametrize("name", ["fedavgm", "fedadam"])
def test_a_standstill_decays_what_momentum_is_left(name):
    """Replies equal to the shared tensors move it by the momentum alone, less every round."""
    merge = METHODS[name].merge
    state = merge(State(round=0, shared={"w": torch.zeros(1)}), [reply(1.0)])
    shifts = []
    for _ in range(60):
        new = merge(state, [reply(float(state.shared["w"]))])
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
        state = merge(state, [Reply(site="a", tensors=new, cases=2, loss=1.0)])
    assert all(torch.equal(state.shared[key], tensor) for key, tensor in new.items())
    assert not state.memory


def test_moments_keep_at_least_single_precision():
    for dtype, kept in ((torch.float16, torch.float32), (torch.float64, torch.float64)):
        start = State(round=0, shared={"w": torch.zeros(2, dtype=dtype)})
        there = Reply(site="a", tensors={"w": torch.ones(2, dtype=dtype)}, cases=1, loss=1.0)
        state = METHODS["fedadam"].merge(start, [there])
        assert state.shared["w"].dtype == dtype
        assert {tensor.dtype for tensor in state.memory.values()} == {kept}
        assert set(state.memory) == {"first/w", "second/w"}


def test_a_server_step_takes_any_mean():
    replies = sent(0, torch.zeros(7, dtype=torch.float64))
    start = State(round=0, shared={"w": torch.zeros(7, dtype=torch.float64)})
    stepped = ServerStep(Momentum(learning_rate=1.0, momentum=0.0), mean=MeanBy(uniform))(
        start, replies
    )
    expected = (replies[0].tensors["w"] + replies[1].tensors["w"]) / 2
    torch.testing.assert_close(stepped.shared["w"], expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Momentum(momentum=1.0),
        lambda: Momentum(learning_rate=0.0),
        lambda: Adam(beta2=1.0),
        lambda: Adam(adaptivity=0.0),
    ],
)
def test_impossible_hyperparameters_are_refused(make):
    with pytest.raises(InputError, match="learning_rate is"):
        make()
