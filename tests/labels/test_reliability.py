from __future__ import annotations

import math

import pytest
import torch

from fednnunet.labels.reliability import dropped_logits, label_probabilities, reliable_labels
from fednnunet.supervision import UNKNOWN
from tests.training.fakes import small_task


def voxels(*rows):
    """Probabilities (1, v, 1, 1, n) of n voxels."""
    return torch.tensor(rows).T.reshape(1, len(rows[0]), 1, 1, -1)


def labels(views, possible, confidence=0.9, max_spread=0.1):
    found = reliable_labels(views, possible, confidence=confidence, max_spread=max_spread)
    assert found.dtype is torch.int16
    return found.flatten().tolist()


def test_a_label_must_be_confident_among_what_is_possible():
    own = voxels([0.05, 0.95, 0.0], [0.2, 0.8, 0.0], [0.05, 0.55, 0.4], [0.02, 0.08, 0.9])
    every = torch.ones_like(own, dtype=torch.bool)
    assert labels([own], every) == [1, UNKNOWN, UNKNOWN, 2]
    two = every.clone()
    two[:, 2] = False  # 0.55 of 0.6 suffices; 0.08 of 0.1 is of too little
    assert labels([own], two) == [1, UNKNOWN, 1, UNKNOWN]


def test_a_label_must_not_vary_over_the_views():
    own = voxels([0.05, 0.95], [0.05, 0.95])
    other = voxels([0.1, 0.9], [0.5, 0.5])
    every = torch.ones_like(own, dtype=torch.bool)
    assert labels([own, other], every) == [1, UNKNOWN]  # deviations of 0.025 and 0.225
    assert labels([own, other], every, max_spread=0.23) == [1, 1]


def test_a_bound_by_class_is_relative_to_the_confidence_of_the_class():
    own = voxels([0.99, 0.01], [0.79, 0.21], [0.35, 0.65], [0.45, 0.55])
    every = torch.ones_like(own, dtype=torch.bool)
    assert labels([own], every) == [0, UNKNOWN, UNKNOWN, UNKNOWN]
    found = reliable_labels([own], every, confidence=0.95, max_spread=1.0, by_class=True)
    assert found.flatten().tolist() == [0, UNKNOWN, 1, UNKNOWN]  # bounds of 0.8455 and 0.57


def test_where_nothing_is_possible_there_is_no_label():
    own = voxels([0.0, 1.0])
    assert labels([own], torch.zeros_like(own, dtype=torch.bool), confidence=0.0) == [UNKNOWN]


def test_probabilities_of_labels_of_a_task_without_regions_are_a_softmax():
    logits = torch.tensor([0.0, math.log(3), 0.0]).reshape(1, 3, 1, 1, 1)
    found = label_probabilities(logits, small_task()).flatten().tolist()
    assert found == pytest.approx([0.2, 0.6, 0.2])


def test_labels_of_regions_are_products_over_them():
    task = small_task(regions={"whole": (1, 2), "core": (2,)})
    whole, core = 0.8, 0.25
    logits = torch.logit(torch.tensor([whole, core])).reshape(1, 2, 1, 1, 1)
    products = torch.tensor([(1 - whole) * (1 - core), whole * (1 - core), whole * core])
    found = label_probabilities(logits, task).flatten()
    torch.testing.assert_close(found, products / products.sum())


def test_labels_that_no_region_tells_apart_are_the_lowest():
    task = small_task(regions={"whole": (1, 2)})
    found = label_probabilities(torch.zeros(1, 1, 2, 2), task)
    assert found[0, :, 0, 0].tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("axes", [2, 3])
def test_dropped_logits_are_the_heads_on_fewer_channels(axes):
    features = torch.ones(2, 1, *(2,) * axes)
    weight, bias = torch.ones(3, 1, *(1,) * axes), torch.tensor([0.0, 1.0, 2.0])
    found = dropped_logits(features, weight, bias, seed=3)
    values = {round(float(view[0, 0].flatten()[0]), 4) for view in found}
    assert values <= {0.0, round(1 / 0.7, 4)}
    for view in found:
        assert view.shape == (2, 3, *(2,) * axes)
        torch.testing.assert_close(view[:, 2] - view[:, 0], torch.full_like(view[:, 0], 2.0))
    again = dropped_logits(features, weight, bias, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
