"""The features that the finest head reads."""

from __future__ import annotations

import pytest
import torch

from fednnunet.training.features import capture_features
from tests.training.steps import batch, state


def test_capturing_features_ends():
    network = state().network
    with capture_features(network) as features:
        network(batch().image)
    network(batch().image)
    assert len(features) == 1


def test_features_are_those_that_the_finest_head_reads():
    network = state().network.eval()
    with torch.no_grad(), capture_features(network) as features:
        logits = network(batch().image)
    assert features[0].shape == (4, 4, 8, 8, 8)
    torch.testing.assert_close(network.heads[0](features[0]), logits)


def test_nothing_is_captured_unless_it_is_wanted():
    network = state().network
    with capture_features(network, wanted=False) as features:
        network(batch().image)
    assert features == []


def test_capturing_ends_after_an_error():
    network = state().network
    captured = []
    with pytest.raises(RuntimeError), capture_features(network) as features:
        captured.append(features)
        raise RuntimeError
    network(batch().image)
    assert captured == [[]]
