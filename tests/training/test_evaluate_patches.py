"""A network on patches, without training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fednnunet.training.batches import Batch
from fednnunet.training.counts import DiceCounts
from fednnunet.training.evaluate_patches import count_patches, evaluate_patches
from tests.training.fakes import CPU, small_task
from tests.training.mixed import PARTIAL
from tests.training.runs import run, unaugmented
from tests.training.steps import batch, state


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


class Always(nn.Module):
    """A network that finds label 1 wherever the image is positive, and the background elsewhere."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        zero = torch.zeros_like(image)
        return torch.cat((zero, image, zero - 1), 1)


def a_batch(image: list[float], labels: list[int], **fields: object) -> Batch:
    shape = (1, 1, 1, len(image))
    return Batch(
        torch.tensor(image).reshape(1, *shape), torch.tensor(labels).reshape(shape), **fields
    )


def test_counts_are_over_all_batches_together():
    batches = [a_batch([1.0, 1.0, -1.0], [1, 0, 2]), a_batch([1.0, -1.0, -1.0], [1, 1, 0])]
    found = count_patches(Always(), batches, small_task(), CPU)
    assert found.rows == ((2, 1, 1), (0, 0, 1))


def test_each_batch_is_counted_by_its_own_supervision():
    batches = [
        a_batch([1.0, -1.0], [1, 2]),
        a_batch([1.0, -1.0], [0, 2], supervision=(PARTIAL,)),
    ]
    found = count_patches(Always(), batches, small_task(), CPU)
    assert found.rows == ((1, 0, 0), (0, 0, 2))


def test_without_batches_nothing_is_counted():
    assert count_patches(Always(), [], small_task(), CPU) == DiceCounts.empty(("outer", "inner"))


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_comes_back_after_an_error(training):
    network = Always().train(training)

    def fails(prediction):
        assert not network.training and prediction.features is None
        raise RuntimeError

    with pytest.raises(RuntimeError):
        evaluate_patches(network, [a_batch([1.0], [1])], CPU, fails)
    assert network.training is training


def test_features_are_there_where_they_are_asked_for():
    found = evaluate_patches(
        state().network, [batch()], CPU, lambda prediction: prediction.features, features=True
    )
    assert found[0].shape == (4, 4, 8, 8, 8) and not found[0].requires_grad
