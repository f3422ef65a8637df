from __future__ import annotations

import numpy as np
import pytest

from fednnunet.planning.label_volume import VOLUME_BINS, volume_place, volume_range, volumes_ml


def test_a_volume_is_voxels_times_spacing_in_ml():
    assert volumes_ml((2.0, 0.5, 0.5), (8000, 0, 3)) == pytest.approx([4.0, 0.0, 0.0015])


def test_bins_double_and_take_their_lower_edge():
    one = volume_place(1.0)
    assert [volume_place(v) - one for v in (0.499, 0.5, 1.0, 1.999, 2.0, 4.0)] == [
        -2,
        -1,
        0,
        0,
        1,
        2,
    ]


def test_the_outer_bins_take_what_lies_beyond():
    assert volume_place(1e-30) == volume_place(2.0**-20) == 0
    assert volume_place(1e30) == volume_place(2.0**19) == VOLUME_BINS - 1
    assert volume_place(2.0**-19) == 1 and volume_place(2.0**18) == VOLUME_BINS - 2


def test_the_range_spans_all_occupied_bins():
    counts = np.zeros(VOLUME_BINS)
    assert volume_range(counts) is None
    counts[volume_place(3.0)] = 2
    assert volume_range(counts) == (2.0, 4.0)
    counts[volume_place(0.3)] = 1
    assert volume_range(counts) == (0.25, 4.0)


@pytest.mark.parametrize("volume_ml", [2.0**-20, 0.013, 1.0, 77.7, 2.0**19])
def test_a_volume_lies_in_the_range_of_its_own_bin(volume_ml):
    counts = np.zeros(VOLUME_BINS)
    counts[volume_place(volume_ml)] = 1
    low, high = volume_range(counts)
    assert low <= volume_ml < high == 2 * low
