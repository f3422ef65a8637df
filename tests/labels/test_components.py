from __future__ import annotations

import numpy as np

from fednnunet.labels.components import class_components, largest_components
from fednnunet.supervision import UNKNOWN
from tests.labels.guesses import guess

U = UNKNOWN


def test_of_each_class_the_largest_component_stays():
    before = guess([[1, 1, 0, 1], [0, 0, 2, U], [2, 0, 2, 1]])
    given = before.labels.clone()
    found = largest_components(before)
    assert found[0].tolist() == [[1, 1, 0, U], [0, 0, 2, U], [U, 0, 2, U]]
    assert before.labels.equal(given)


def test_background_in_several_pieces_stays():
    rows = [[0, 1, 0, 0]]
    assert largest_components(guess(rows)).tolist() == [rows]


def test_voxels_that_touch_at_a_corner_are_apart():
    found = largest_components(guess([[1, 1, 0], [0, 0, 1]]))
    assert found[0].tolist() == [[1, 1, 0], [0, 0, U]]


def test_every_sample_keeps_its_own():
    found = largest_components(guess([[1, 1, 1, 0, 1]], [[0, 1, 0, 1, 1]]))
    assert found.tolist() == [[[1, 1, 1, 0, U]], [[0, U, 0, 1, 1]]]


def test_components_are_numbered_by_class():
    sample = np.array([[[2, 0, 2, U, 1]]], np.int16)
    found = {value: (parts.tolist(), count) for value, parts, count in class_components(sample)}
    assert found == {1: ([[[0, 0, 0, 0, 1]]], 1), 2: ([[[1, 0, 2, 0, 0]]], 2)}
