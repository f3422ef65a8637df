"""Weights of the mean: q-FFL's reweighting by loss."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError, ReplyError
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.mean import MeanBy, by_cases
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.qfedavg import ByLoss
from tests.contracts.helpers import merged, weights_of


def reply(site: str, *, cases: int, loss: float, value: float = 0.0) -> Reply:
    return Reply(site=site, tensors={"w": torch.tensor([value])}, cases=cases, loss=loss)


def test_a_weight_is_cases_times_the_shifted_loss_to_the_q():
    replies = [reply("a", cases=4, loss=-0.5), reply("b", cases=2, loss=1.0)]
    assert weights_of(ByLoss(q=2.0), replies) == pytest.approx({"a": 4 * 0.25, "b": 2 * 4.0})


def test_q_zero_is_fedavg_whatever_the_losses():
    replies = [reply("a", cases=4, loss=-0.5), reply("b", cases=2, loss=9.0)]
    assert weights_of(ByLoss(q=0.0), replies) == weights_of(by_cases, replies)


def test_the_weighted_mean_is_the_gradient_of_the_fair_objective():
    """With changes that are each site's gradient, the merge goes along q-FFL's gradient."""
    losses = torch.tensor([0.4, 1.7], dtype=torch.float64)
    x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    slopes = torch.tensor([2.0, -3.0], dtype=torch.float64)
    shifted = losses + slopes * (x - 1) + 1
    (torch.tensor([0.25, 0.75]) / 3 * shifted**3).sum().backward()
    replies = [
        reply(site, cases=cases, loss=float(loss), value=float(slope))
        for site, cases, loss, slope in zip("ab", (1, 3), losses, slopes, strict=True)
    ]
    weights = weights_of(ByLoss(q=2.0), replies)
    mean = merged(MeanBy(ByLoss(q=2.0)), State(round=0, shared={"w": torch.zeros(1)}), replies)
    scale = sum(weights.values()) / sum(r.cases for r in replies)
    assert float(mean.shared["w"]) * scale == pytest.approx(float(x.grad))


def test_the_site_that_does_worse_counts_more():
    replies = [reply("a", cases=5, loss=-0.9), reply("b", cases=5, loss=0.9, value=1.0)]
    after = merged(METHODS["qfedavg"].merge, State(round=0, shared={"w": torch.zeros(1)}), replies)
    assert float(after.shared["w"]) == pytest.approx(1.9 / 2.0)


def test_sites_without_any_loss_left_fall_back_to_their_cases():
    replies = [reply("a", cases=1, loss=-1.0), reply("b", cases=3, loss=-1.1, value=4.0)]
    after = merged(METHODS["qfedavg"].merge, State(round=0, shared={"w": torch.zeros(1)}), replies)
    assert float(after.shared["w"]) == pytest.approx(3.0)


def test_a_loss_that_is_not_finite_is_refused_with_its_site():
    with pytest.raises(ReplyError, match="the loss is nan") as caught:
        weights_of(ByLoss(q=1.0), [reply("b", cases=1, loss=float("nan"))])
    assert "site b" in str(caught.value)


@pytest.mark.parametrize("q", [-1.0, float("inf"), float("nan")])
def test_an_impossible_q_is_refused(q):
    with pytest.raises(InputError, match="q is"):
        ByLoss(q=q)
