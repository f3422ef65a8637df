"""A network on patches, without training."""

from __future__ import annotations

import torch

from fednnunet.training.evaluate_patches import count_patches
from tests.training.fakes import CPU
from tests.training.runs import run, unaugmented


def test_validation_is_repeatable_and_leaves_the_network_alone():
    state, _, plan, configuration, store = run(1)
    before = {k: v.clone() for k, v in state.network.state_dict().items()}

    def count(seed=0):
        patches = unaugmented(store, plan, configuration, seed)
        singles = [sample for step in range(2) for sample in patches[step].samples()]
        return count_patches(state.network, singles, plan.task, CPU)

    assert count() == count() and count() != count(seed=1)
    assert state.network.training
    assert all(torch.equal(before[k], v) for k, v in state.network.state_dict().items())
