"""Weighted sums of tiles, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fednnunet.device import Device
from fednnunet.inference.blending import Blend
from fednnunet.inference.tiles import Tiling, gaussian

ROWS = slice(0, 1)


def a_blend(tiling: Tiling, logits: np.ndarray, rows: slice) -> Blend:
    """The sums of all tiles, whose logits (tiles, k, *patch) are given."""
    blend = Blend(tiling, rows, Device())
    for tile, values in zip(tiling.tiles(rows), logits, strict=True):
        blend.add([tile], torch.from_numpy(values)[None])
    return blend


def test_where_tiles_overlap_each_counts_by_its_weight() -> None:
    tiling = Tiling.of((1, 1, 3), (1, 1, 2), 0.5)
    assert tiling.starts == ((0,), (0,), (0, 1))
    first, second = np.array([2.0, 4.0]), np.array([8.0, 6.0])
    logits = np.stack([first, second]).reshape(2, 1, 1, 1, 2).astype(np.float32)
    start, found = a_blend(tiling, logits, ROWS).final(1)
    a, b = gaussian((1, 1, 2)).ravel().tolist()
    assert start == 0 and found.shape == (1, 1, 1, 3)
    expected = [2.0, (b * 4 + a * 8) / (a + b), 6.0]
    assert found.ravel().tolist() == pytest.approx(expected, rel=1e-6)


def test_samples_beyond_the_group_are_left_out() -> None:
    tiling = Tiling.of((1, 1, 2), (1, 1, 2), 0.5)
    blend = Blend(tiling, ROWS, Device())
    values = torch.tensor([[1.0, 2.0], [9.0, 9.0]]).reshape(2, 1, 1, 1, 2)
    blend.add(tiling.tiles(ROWS), values)
    assert blend.final(1)[1].ravel().tolist() == pytest.approx([1.0, 2.0])
    assert blend.place.type == "cpu"


@pytest.mark.parametrize("rows", [slice(0, 9), slice(3, 5), slice(8, 9)])
@pytest.mark.parametrize("spare", [0, 2])
def test_planes_that_are_forgotten_change_nothing_of_the_others(rows: slice, spare: int) -> None:
    tiling = Tiling.of((11, 9, 5), (4, 4, 4), 0.5)
    everything = slice(0, 9)
    tiles = tiling.tiles(everything)
    values = np.random.default_rng(0).normal(size=(len(tiles), 2, 4, 4, 4)).astype(np.float32)
    _, whole = a_blend(tiling, values, everything).final(11)
    known = {
        str(tile): torch.from_numpy(value)[None] for tile, value in zip(tiles, values, strict=True)
    }
    blend, parts = Blend(tiling, rows, Device(), spare=spare), []
    wanted = tiling.tiles(rows)
    for number, tile in enumerate(wanted):
        blend.add([tile], known[str(tile)])
        stop = wanted[number + 1][0].start if number + 1 < len(wanted) else 11
        start, planes = blend.final(stop)
        parts.append(planes.clone())
        blend.drop(start + planes.shape[1])
    assert torch.equal(torch.cat(parts, 1), whole[:, :, rows])
