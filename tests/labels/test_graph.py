from __future__ import annotations

from fednnunet.labels.graph import drop_unlike_components
from fednnunet.supervision import UNKNOWN
from tests.labels.guesses import guess

U = UNKNOWN


def test_components_unlike_the_others_of_their_class_are_dropped():
    # along the first feature: the two outer components; along the second: the one in the middle
    along = [[[1.0, 1.0, 0.0, 0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0, 1.0, 0.0, 0.1]]]
    found = drop_unlike_components(guess([[1, 1, 0, 1, 0, 1]], features=along))
    assert found[0].tolist() == [[1, 1, 0, U, 0, 1]]


def test_the_group_with_the_most_voxels_stays_whatever_its_number_of_components():
    along = [[[1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]]
    found = drop_unlike_components(guess([[1, 0, 1, 0, 1, 1, 1]], features=along))
    assert found[0].tolist() == [[U, 0, U, 0, 1, 1, 1]]


def test_alike_through_a_third_is_alike():
    # 0, 30 and 60 degrees: the outer two have a cosine of 0.5, both have 0.87 with the middle one
    along = [[[1.0, 0.0, 0.866, 0.0, 0.5]], [[0.0, 0.0, 0.5, 0.0, 0.866]]]
    rows = [[1, 0, 1, 0, 1]]
    assert drop_unlike_components(guess(rows, features=along)).tolist() == [rows]
    apart = [[1, 0, 0, 0, 1]]
    assert drop_unlike_components(guess(apart, features=along)).tolist() == [[[1, 0, 0, 0, U]]]


def test_how_long_features_are_does_not_matter():
    along = [[[1.0, 0.0, 50.0]], [[0.0, 0.0, 0.0]]]
    rows = [[1, 0, 1]]
    assert drop_unlike_components(guess(rows, features=along)).tolist() == [rows]


def test_components_are_compared_over_all_samples_of_the_batch():
    along = [[[1.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]]
    found = drop_unlike_components(guess([[1, 0, 0, 0]], [[1, 0, 0, 0]], features=along))
    assert found.tolist() == [[[1, 0, 0, 0]]] * 2
    found = drop_unlike_components(guess([[1, 0, 0, 0]], [[0, 0, 1, 1]], features=along))
    assert found.tolist() == [[[U, 0, 0, 0]], [[0, 0, 1, 1]]]


def test_classes_are_not_compared_with_one_another():
    along = [[[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]]
    rows = [[1, 0, 2]]
    assert drop_unlike_components(guess(rows, features=along)).tolist() == [rows]
