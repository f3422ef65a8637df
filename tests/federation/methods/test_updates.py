"""Cosines between the sites' updates."""

from __future__ import annotations

import math

import pytest
import torch

from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.updates import UpdateProducts
from tests.federation.methods.replies import NAME


def test_a_cosine_is_that_of_all_trained_tensors_as_one_vector():
    head, running = "heads.0.weight", "encoder.0.norm.running_mean"
    start = {NAME: torch.ones(2), head: torch.zeros(1), running: torch.zeros(1)}
    changes = {"b": ((3.0, 0.0), 4.0), "a": ((5.0, 5.0), 0.0), "still": ((0.0, 0.0), 0.0)}
    replies = [
        Reply(
            site=site,
            tensors={
                NAME: torch.ones(2) + torch.tensor(body),
                head: torch.tensor([last]),
                running: torch.tensor([99.0]),
            },
            cases=1,
            loss=0.0,
        )
        for site, (body, last) in changes.items()
    ]
    state = State(round=0, shared=start)
    products = UpdateProducts.of(state, replies)
    a, b, both = {"a": 1.0}, {"b": 1.0}, {"a": 1.0, "b": 1.0}
    assert products.sites == ("a", "b", "still")
    assert products.cosine(a, b) == pytest.approx(15 / (5 * math.hypot(5, 5)))
    assert products.cosine(a, {"a": 2.0}) == pytest.approx(1.0)
    assert products.cosine(a, both) == pytest.approx(65 / (math.hypot(5, 5) * math.hypot(8, 5, 4)))
    assert products.cosine(a, {"still": 1.0}) == 0.0
    assert products.cosine({}, b) == 0.0
    assert UpdateProducts.of(state, replies, lambda name: name != head).cosine(
        a, b
    ) == pytest.approx(0.5**0.5)
