from __future__ import annotations

import pytest
import torch

from fednnunet.labels.walker import RandomWalker
from fednnunet.supervision import UNKNOWN
from tests.labels.guesses import guess

U = UNKNOWN
EDGE = [[0.0, 0.0, 0.0, 5.0, 5.0, 5.0]] * 3
ENDS = [[0, U, U, U, U, 1]] * 3


def test_the_walk_stops_at_edges_of_the_image():
    found = RandomWalker(probability=0.9)(guess(ENDS, image=EDGE))
    assert found[0].tolist() == [[0, 0, 0, 1, 1, 1]] * 3
    assert found.dtype == torch.int16


def test_where_it_is_not_sure_nothing_is_added():
    """Halfway between two labels, with equal edges to both, neither is likelier."""
    rows, image = [[1, U, 2]], [[0.0, 1.0, 0.0]]
    assert RandomWalker(probability=0.9)(guess(rows, image=image)).tolist() == [rows]
    assert RandomWalker(probability=0.4)(guess(rows, image=image))[0, 0, 1] in (1, 2)


@pytest.mark.filterwarnings("error")
def test_an_image_that_is_the_same_everywhere_adds_nothing():
    """Such as a patch of air; edges are measured against the spread of intensities, here 0."""
    assert RandomWalker(probability=0.5)(guess(ENDS)).tolist() == [ENDS]


def test_labels_that_there_are_stay():
    image = [[0.0, 0.0, 0.0, 5.0, 5.0, 5.0]]
    rows = [[0, U, 2, U, U, 1]]  # the middle one lies on the background's side
    found = RandomWalker(probability=0.5)(guess(rows, image=image))
    assert found[0, 0, [0, 2, 5]].tolist() == [0, 2, 1]


def test_what_is_known_is_a_seed():
    possible = torch.ones(1, 3, 3, 6, dtype=torch.bool)
    possible[0, :, :, 5] = torch.tensor([False, False, True])[:, None]
    guessed = guess(ENDS, image=EDGE, possible=possible)
    found = RandomWalker(probability=0.9)(guessed)
    assert found[0].tolist() == [[0, 0, 0, 2, 2, 2]] * 3


def test_it_needs_two_labels_and_a_voxel_without_one():
    walk, image = RandomWalker(probability=0.5), [[0.0, 1.0, 0.0]]
    for rows in ([[1, U, U]], [[U, U, U]], [[1, 2, 0]]):
        assert walk(guess(rows, image=image)).tolist() == [rows]


def test_samples_are_walked_one_by_one():
    alone = [[U] * 6] * 3
    found = RandomWalker(probability=0.9)(guess(ENDS, alone, image=EDGE))
    assert found.tolist() == [[[0, 0, 0, 1, 1, 1]] * 3, alone]
