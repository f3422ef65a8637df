"""The weights from which a federation starts."""

from __future__ import annotations

import torch

from fednnunet.training.initial import initial_tensors, plan_network
from tests.training.fakes import small_plan, small_task


def test_they_follow_from_plan_and_seed_alone():
    plan, configuration = small_plan()
    one = initial_tensors(plan, configuration.name, seed=3)
    torch.rand(5)
    again = initial_tensors(plan, configuration.name, seed=3)
    assert all(torch.equal(one[name], tensor) for name, tensor in again.items())
    other = initial_tensors(plan, configuration.name, seed=4)
    assert one.keys() == other.keys()
    assert not torch.equal(one["heads.0.weight"], other["heads.0.weight"])


def test_the_network_is_the_plans():
    task = small_task(channels=("T1", "T2"), regions={"whole": (1, 2)})
    plan, configuration = small_plan(task=task, features=(6, 8), norm="batch")
    tensors = plan_network(plan, configuration).state_dict()
    assert tensors["encoder.0.blocks.0.conv.weight"].shape == (6, 2, 3, 3, 3)
    assert tensors["heads.0.weight"].shape[:2] == (1, 6)
    assert "encoder.0.blocks.0.norm.running_mean" in tensors
