"""Tiles cover every voxel, and their weights add up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from fednnunet.inference.tiles import PEAK, Tiling, gaussian, tile_starts


@pytest.mark.parametrize(
    ("size", "patch", "starts"),
    [
        (8, 8, (0,)),
        (9, 8, (0, 1)),
        (12, 8, (0, 4)),
        (13, 8, (0, 2, 5)),
        (20, 8, (0, 4, 8, 12)),
    ],
)
def test_tiles_are_evenly_spread(size: int, patch: int, starts: tuple[int, ...]) -> None:
    assert tile_starts(size, patch, 0.5) == starts


@pytest.mark.parametrize("size", range(8, 60))
def test_tiles_cover_and_never_step_further_than_half(size: int) -> None:
    starts = tile_starts(size, 8, 0.5)
    assert starts[0] == 0
    assert starts[-1] == size - 8 if size > 8 else len(starts) == 1
    assert all(0 < b - a <= 4 + 1 for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("patch", [(8, 16, 12), (40, 56, 40), (7, 9)])
def test_weight_is_a_blurred_point(patch: tuple[int, ...]) -> None:
    point = np.zeros(patch)
    point[tuple(p // 2 for p in patch)] = 1
    blurred = ndimage.gaussian_filter(point, [p / 8 for p in patch], mode="constant", cval=0)
    expected = blurred / blurred.max() * PEAK
    ours = gaussian(patch)
    assert (ours > 0).all()
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("patch", [(6, 4, 8), (4, 8)])
def test_the_weights_of_all_tiles_are_the_product_of_three(patch: tuple[int, ...]) -> None:
    tiling = Tiling.of((9, 11, 8), patch, 0.5)
    total, weight = np.zeros((9, 11, 8)), gaussian(tiling.patch)
    for tile in tiling.tiles(slice(0, 11)):
        total[tile] += weight
    z, y, x = (tiling.total_weight(axis) for axis in range(3))
    np.testing.assert_allclose(PEAK * z[:, None, None] * np.outer(y, x), total, rtol=1e-5)


def test_only_tiles_that_reach_the_rows_are_listed() -> None:
    tiling = Tiling.of((4, 20, 4), (4, 8, 4), 0.5)
    assert tiling.starts[1] == (0, 4, 8, 12)
    assert [tile[1].start for tile in tiling.tiles(slice(0, 4))] == [0]
    assert [tile[1].start for tile in tiling.tiles(slice(4, 9))] == [0, 4, 8]
    assert [tile[1].start for tile in tiling.tiles(slice(19, 20))] == [12]


def test_no_tile_lies_in_padding_alone() -> None:
    """A volume is padded up to a patch only, which leaves one tile along that axis."""
    assert len(Tiling.of((8, 30, 8), (8, 8, 8), 0.5).tiles(slice(0, 30))) == 7
