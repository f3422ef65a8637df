"""Refinements of pseudo-labels, each on a volume that one can read."""

from __future__ import annotations

import torch

from fednnunet.labels.components import largest_components
from fednnunet.labels.cross import agreed, second_opinion
from fednnunet.labels.graph import drop_unlike_components
from fednnunet.labels.refinement import Guess, overruled
from fednnunet.labels.walker import RandomWalker
from fednnunet.supervision import UNKNOWN
from tests.training.fakes import small_task

U = UNKNOWN


def guess(rows, *, image=None, features=None, possible=None):
    """A 2D guess of one sample, with two classes."""
    labels = torch.tensor(rows, dtype=torch.int16)[None]
    flat = torch.zeros(1, 1, *labels.shape[1:])
    free = torch.ones(1, 3, *labels.shape[1:], dtype=torch.bool)
    return Guess(
        labels,
        free if possible is None else possible,
        flat if image is None else torch.tensor(image)[None, None],
        flat if features is None else torch.tensor(features)[None],
    )


def test_of_each_class_the_largest_component_stays():
    found = largest_components(guess([[1, 1, 0, 1], [0, 0, 2, U], [2, 0, 2, 1]]))
    assert found[0].tolist() == [[1, 1, 0, U], [0, 0, 2, U], [U, 0, 2, U]]


def test_components_unlike_the_others_of_their_class_are_dropped():
    # along the first feature: the two outer components; along the second: the one in the middle
    along = [[[1.0, 1.0, 0.0, 0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0, 1.0, 0.0, 0.1]]]
    found = drop_unlike_components(guess([[1, 1, 0, 1, 0, 1]], features=along))
    assert found[0].tolist() == [[1, 1, 0, U, 0, 1]]


def test_the_random_walker_stops_at_edges_of_the_image():
    image = [[0.0, 0.0, 0.0, 5.0, 5.0, 5.0]] * 3
    rows = [[0, U, U, U, U, 1]] * 3
    found = RandomWalker(probability=0.9)(guess(rows, image=image))
    assert found[0].tolist() == [[0, 0, 0, 1, 1, 1]] * 3


def test_the_random_walker_needs_two_labels():
    rows = [[1, U, U]]
    assert RandomWalker(probability=0.5)(guess(rows)).tolist() == [rows]


def test_what_is_known_overrules():
    possible = torch.tensor([[[[1, 1, 0, 1, 0]], [[0, 1, 1, 1, 0]], [[0, 0, 0, 1, 0]]]]).bool()
    labels = torch.tensor([[[1, 2, U, 2, 1]]], dtype=torch.int16)
    assert overruled(labels, possible).flatten().tolist() == [0, U, 1, 2, U]


def test_a_label_counts_where_both_heads_give_it():
    labels = torch.tensor([[[0, 1], [1, U]]], dtype=torch.int16)
    features = torch.tensor([[[[1.0]]]])  # one coarse voxel over four
    head = {
        "weight": torch.tensor([0.0, 3.0, 1.0]).reshape(3, 1, 1, 1),
        "bias": torch.zeros(3),
    }
    possible = torch.ones(1, 3, 2, 2, dtype=torch.bool)
    other = second_opinion(features, head, possible, small_task())
    assert other.flatten().tolist() == [1, 1, 1, 1]
    assert agreed(labels, other).flatten().tolist() == [U, 1, 1, U]
