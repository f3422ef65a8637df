"""FedGKD's term: zero where nothing has changed, and its gradient in closed form."""

from __future__ import annotations

import pytest
import torch

from fednnunet.federation.methods.fedgkd import Distillation, divergence
from fednnunet.supervision import Supervision
from fednnunet.training.local_rule import ForwardPass, RoundContext
from fednnunet.training.targets import make_targets
from tests.training.fakes import small_task
from tests.training.steps import batch, state


def a_pass(network, start, *, task=None, supervision=None):
    samples = batch()
    network.train()
    return ForwardPass(
        network=network,
        image=samples.image,
        labels=samples.labels,
        logits=network(samples.image)[0],
        features=None,
        targets=make_targets(task or small_task(), supervision),
        context=RoundContext(start=start, shared=frozenset(start)),
    )


def tensors(network):
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("regions", [{}, {"whole": (1, 2), "core": (2,)}])
def test_it_is_zero_where_the_network_is_as_received_and_grows_away(regions):
    task = small_task(regions=regions)
    network = state(task=task).network
    received = tensors(network)
    at_home = Distillation(gamma=2.0)(a_pass(network, received, task=task))
    assert float(at_home.detach()) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        network.heads[0].weight[0] += 0.5
    away = Distillation(gamma=2.0)(a_pass(network, received, task=task))
    assert float(away.detach()) > 1e-3


def test_the_teacher_gets_no_gradient_and_the_network_stays_in_training():
    network = state().network
    received = tensors(network)
    seen = a_pass(network, received)
    with torch.no_grad():
        network.heads[0].bias += 1
    Distillation(gamma=0.2)(a_pass(network, received)).backward()
    assert network.heads[0].bias.grad is not None
    assert network.training and seen.network is network
    assert all(torch.equal(t, received[n]) for n, t in received.items())
    assert not any(tensor.requires_grad for tensor in received.values())


def test_its_gradient_is_the_difference_of_probabilities():
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    divergence(logits, teacher, regions=False).sum().backward()
    torch.testing.assert_close(logits.grad, logits.detach().softmax(1) - teacher.softmax(1))


def test_for_regions_its_gradient_is_the_difference_of_each_outputs_probability():
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    divergence(logits, teacher, regions=True).sum().backward()
    want = (logits.detach().sigmoid() - teacher.sigmoid()) / 3
    torch.testing.assert_close(logits.grad, want)


def test_it_is_torchs_kl_divergence_by_hand():
    logits, teacher = torch.randn(2, 1, 2, 1, 1, dtype=torch.float64)
    p, q = teacher.softmax(1).flatten(), logits.softmax(1).flatten()
    want = float((p * (p / q).log()).sum())
    assert float(divergence(logits, teacher, regions=False)) == pytest.approx(want, rel=1e-6)


def test_ignored_voxels_do_not_count():
    task = small_task(ignore=3)
    network = state(task=task).network
    received = tensors(network)
    with torch.no_grad():
        network.heads[0].bias[1] += 1
    seen = a_pass(network, received, task=task)
    seen.labels[:] = 3
    assert float(Distillation(gamma=0.2)(seen).detach()) == 0


@pytest.mark.parametrize("kind", ["scribble", "box", "none"])
def test_voxels_without_a_label_are_distilled_too(kind):
    network = state().network
    received = tensors(network)
    with torch.no_grad():
        network.heads[0].weight[0] += 0.5
    full, weak = (
        Distillation(gamma=2.0)(a_pass(network, received, supervision=Supervision(kind=each)))
        for each in ("full", kind)
    )
    assert torch.equal(full, weak)
