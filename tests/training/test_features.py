"""The features that the finest head reads."""

from __future__ import annotations

from fednnunet.training.features import capture_features
from tests.training.steps import batch, state


def test_capturing_features_ends():
    network = state().network
    with capture_features(network) as features:
        network(batch().image)
    network(batch().image)
    assert len(features) == 1
