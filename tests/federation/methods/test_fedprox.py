"""FedProx's term against its closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fednnunet.federation.methods.fedprox import Proximal
from fednnunet.training.local_rule import ForwardPass, RoundContext


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = {"encoder": nn.Linear(4, 3), "norm": nn.BatchNorm1d(3), "heads": nn.Linear(3, 2)}
    return nn.ModuleDict(layers).double()


def away(network: nn.Module) -> dict[str, torch.Tensor]:
    """What the site received: every tensor another than now."""
    return {name: (t.detach() + 0.5).to(t.dtype) for name, t in network.state_dict().items()}


def seen(network: nn.Module, received: dict[str, torch.Tensor]) -> ForwardPass:
    """A pass in which the term can look at the network and at what was received only."""
    nothing = torch.empty(0)
    return ForwardPass(
        network=network,
        image=nothing,
        labels=nothing,
        logits=nothing,
        features=None,
        targets=None,  # type: ignore[arg-type]
        context=RoundContext(start=received, shared=frozenset(received)),
    )


def test_its_gradient_is_mu_times_the_distance(network):
    received = away(network)
    Proximal(mu=0.3)(seen(network, received)).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, 0.3 * (parameter.detach() - received[name]))


def test_its_value_is_half_mu_times_the_squared_norm_over_parameters(network):
    """Each of the parameters lies 0.5 away; running statistics and counters do not count."""
    count = sum(parameter.numel() for parameter in network.parameters())
    value = Proximal(mu=0.3)(seen(network, away(network)))
    assert float(value.detach()) == pytest.approx(0.3 / 2 * count * 0.25)


def test_private_parameters_are_not_held(network):
    received = {name: t for name, t in away(network).items() if not name.startswith("heads")}
    Proximal(mu=0.3)(seen(network, received)).backward()
    assert network["heads"].weight.grad is None
    assert network["encoder"].weight.grad is not None


def test_received_tensors_of_lower_precision_are_compared_in_the_networks(network):
    received = {name: t.to(torch.float32) for name, t in away(network).items()}
    assert Proximal(mu=0.3)(seen(network, received)).dtype == torch.float64


def test_received_tensors_get_no_gradient_and_stay(network):
    received = away(network)
    before = {name: t.clone() for name, t in received.items()}
    Proximal(mu=0.3)(seen(network, received)).backward()
    assert all(t.grad is None and torch.equal(t, before[n]) for n, t in received.items())
