from __future__ import annotations

import pytest
import torch

from fednnunet.labels.cross import STAGE, agreed, captured_stage, second_opinion
from fednnunet.supervision import UNKNOWN
from tests.training.fakes import small_task
from tests.training.steps import batch, state

U = UNKNOWN
HEAD = {"weight": torch.tensor([0.0, 3.0, 1.0]).reshape(3, 1, 1, 1), "bias": torch.zeros(3)}


def opinion(value, *, possible=None, head=HEAD, **task):
    """Of one coarse voxel, whose feature is `value`, over four fine ones (2, 2)."""
    free = torch.ones(1, 3, 2, 2, dtype=torch.bool)
    features = torch.tensor([[[[value]]]])
    found = second_opinion(
        features, head, free if possible is None else possible, small_task(**task)
    )
    assert found.dtype == torch.int16 and found.shape == (1, 2, 2)
    return found.flatten().tolist()


def test_a_coarse_voxel_speaks_for_all_that_it_covers():
    assert opinion(1.0) == [1, 1, 1, 1]
    assert opinion(-1.0) == [0, 0, 0, 0]


def test_the_opinion_is_one_of_the_possible_labels():
    possible = torch.ones(1, 3, 2, 2, dtype=torch.bool)
    possible[0, 1, 0, 0] = False
    possible[0, 1:, 1, 1] = False
    assert opinion(1.0, possible=possible) == [2, 1, 1, 0]


def test_regions_are_turned_into_labels():
    head = {"weight": torch.tensor([3.0, -3.0]).reshape(2, 1, 1, 1), "bias": torch.zeros(2)}
    assert opinion(1.0, head=head, regions={"whole": (1, 2), "core": (2,)}) == [1] * 4


def test_volumes_have_an_opinion_too():
    head = {"weight": HEAD["weight"][..., None], "bias": HEAD["bias"]}
    features = torch.tensor([1.0, -1.0]).reshape(1, 1, 2, 1, 1)
    possible = torch.ones(1, 3, 4, 2, 2, dtype=torch.bool)
    found = second_opinion(features, head, possible, small_task())
    assert found[0, :, 0, 0].tolist() == [1, 1, 0, 0]


def test_a_label_counts_where_both_heads_give_it():
    labels = torch.tensor([[[0, 1], [1, U]]], dtype=torch.int16)
    other = torch.ones_like(labels)
    assert agreed(labels, other).flatten().tolist() == [U, 1, 1, U]


def test_features_are_those_of_the_second_head():
    now, image = state(), batch(1).image
    head = now.network.get_submodule("heads.1")
    seen = []
    head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with captured_stage(now.network) as features:
        now.network.train()(image)
    assert len(features) == 1 and torch.equal(features[0], seen[0])


def test_after_the_context_nothing_is_captured():
    now, image = state(), batch(1).image
    with pytest.raises(ValueError, match="stop"), captured_stage(now.network) as features:
        raise ValueError("stop")
    now.network(image)
    assert features == []
    assert not now.network.get_submodule(STAGE)._forward_hooks
