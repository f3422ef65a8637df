"""SCAFFOLD on two quadratics whose optima and curvatures differ, and its bookkeeping."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn

from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.method import TrainedSite
from fednnunet.federation.methods.scaffold import ControlChange, Controlled, Scaffold
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.training.local_rule import RoundContext
from fednnunet.training.state import TrainingState
from tests.contracts.helpers import merged
from tests.training.fakes import CPU

MERGE = Scaffold().build().merge
RATE, ITERATIONS = 0.05, 10
CURVES = {"flat": (1.0, 4.0, 3), "steep": (10.0, -2.0, 1)}  # curvature, optimum, cases


class Point(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        self.register_buffer("running_var", torch.ones(1))


@dataclass
class Quadratic:
    """A site whose loss is curvature/2 * ||w - optimum||^2, trained by plain steps."""

    name: str
    memory: dict = field(default_factory=dict)

    def round(self, state: State, *, corrected: bool) -> Reply:
        curvature, optimum, cases = CURVES[self.name]
        network = Point()
        network.load_state_dict(dict(state.shared), strict=False)
        here = TrainingState(
            network=network,
            optimiser=torch.optim.SGD(network.parameters(), lr=RATE),
            scaler=torch.amp.GradScaler("cpu", enabled=False),
            recipe="",
            seed=0,
            memory=self.memory,
        )
        context = RoundContext(
            start=state.shared, shared=frozenset(state.shared), extras=state.extras
        )
        for _ in range(ITERATIONS):
            network.w.grad = curvature * (network.w.detach() - optimum)
            if corrected:
                Controlled()(here, context)
            here.optimiser.step()
        trained = TrainedSite(
            state=here,
            context=context,
            each_case=lambda patches: iter(()),
            cases=cases,
            min_cases=SitePolicy().min_cases,
            task=None,  # type: ignore[arg-type]
            execution=CPU,
        )
        return Reply(
            site=self.name,
            tensors={"w": network.w.detach().clone()},
            extras=ControlChange().reply(trained) if corrected else {},
            cases=cases,
            loss=0.0,
        )


def joint_optimum() -> float:
    weighted = [(a * n, b) for a, b, n in CURVES.values()]
    return sum(w * b for w, b in weighted) / sum(w for w, _ in weighted)


def start() -> State:
    return State(round=0, shared={"w": torch.zeros(2, dtype=torch.float64)})


def trained_for(rounds: int, merge, *, corrected: bool) -> State:
    sites, state = [Quadratic(name) for name in CURVES], start()
    for _ in range(rounds):
        state = merged(merge, state, [site.round(state, corrected=corrected) for site in sites])
    return state


def test_it_ends_at_the_joint_optimum_and_fedavg_does_not():
    found = trained_for(100, MERGE, corrected=True).shared["w"]
    torch.testing.assert_close(found, torch.full_like(found, joint_optimum()), rtol=0, atol=1e-6)
    drifted = trained_for(100, mean_by_cases, corrected=False).shared["w"]
    assert bool((drifted - joint_optimum()).abs().min() > 0.3)


def test_a_site_that_sits_out_keeps_its_say():
    """Every other round the steep site is away; the end is the same."""
    sites, state = [Quadratic(name) for name in CURVES], start()
    for number in range(20):
        here = sites if number % 2 == 0 else sites[:1]
        state = merged(MERGE, state, [site.round(state, corrected=True) for site in here])
    own = {site.name: site.memory["control_own/w"] for site in sites}
    cases = {name: n for name, (_, _, n) in CURVES.items()}
    mean = sum(cases[name] * own[name] for name in own) / sum(cases.values())
    torch.testing.assert_close(state.extras["control/w"], mean)


def test_with_plain_steps_the_control_variate_is_the_papers_option_two():
    sites, state = [Quadratic(name) for name in CURVES], start()
    for _ in range(3):
        old = [site.memory.get("control_own/w", torch.zeros(2)).clone() for site in sites]
        common = state.extras.get("control/w", torch.zeros(2))
        replies = [site.round(state, corrected=True) for site in sites]
        for site, before, reply in zip(sites, old, replies, strict=True):
            way = (state.shared["w"] - reply.tensors["w"]) / (ITERATIONS * RATE)
            torch.testing.assert_close(site.memory["control_own/w"], before - common + way)
            torch.testing.assert_close(
                reply.extras["control/w"], site.memory["control_own/w"] - before
            )
        state = merged(MERGE, state, replies)


def test_only_its_variate_stays_in_a_sites_memory():
    site = Quadratic("flat")
    site.round(start(), corrected=True)
    assert site.memory.keys() == {"control_own/w"}


def test_alone_a_site_is_not_corrected():
    site, state = Quadratic("flat"), start()
    state = merged(MERGE, state, [site.round(state, corrected=True)])
    difference = state.extras["control/w"] - site.memory["control_own/w"]
    assert float(difference.abs().max()) < 1e-15


def test_running_statistics_and_private_parameters_have_no_variate():
    tensors = {name: t.detach() for name, t in Point().state_dict().items()}
    assert ControlChange().like(tensors, tensors.keys()).keys() == {"control/w"}
    assert ControlChange().like(tensors, {"running_var"}) == {}


@pytest.mark.parametrize("cases", [1, 3, 7])
def test_equal_variates_merge_to_themselves_bit_for_bit(cases):
    change = {"control/w": torch.rand(50)}
    replies = [
        Reply(site=name, tensors={"w": torch.zeros(2)}, extras=change, cases=cases, loss=0.0)
        for name in "abc"
    ]
    after = merged(MERGE, replace(start(), shared={"w": torch.zeros(2)}), replies)
    assert torch.equal(after.extras["control/w"], change["control/w"])
