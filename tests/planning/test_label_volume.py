"""Volumes of labels fall into bins that double, and the range is that of the occupied ones."""

from __future__ import annotations

import numpy as np
import pytest

from fednnunet.planning.label_volume import VOLUME_BINS, volume_place, volume_range, volumes_ml


def test_volumes_are_in_ml():
    assert volumes_ml((2.0, 1.0, 0.5), (0, 1000, 3)) == [0.0, 1.0, 0.003]


@pytest.mark.parametrize("volume", [2.0**-30, 0.003, 1.0, 1.999, 2.0, 777.0])
def test_a_volume_lies_within_the_range_of_its_bin(volume):
    counts = np.zeros(VOLUME_BINS)
    counts[volume_place(volume)] = 5
    found = volume_range(counts)
    assert found
    assert found[1] == 2 * found[0]
    assert max(found[0], volume) == volume or volume_place(volume) == 0
    assert volume < found[1]


def test_the_range_goes_from_the_lowest_to_the_highest_volume():
    counts = np.zeros(VOLUME_BINS)
    for volume in (0.3, 5.0, 40.0):
        counts[volume_place(volume)] += 1
    assert volume_range(counts) == (0.25, 64.0)
    assert volume_range(np.zeros(VOLUME_BINS)) is None
