"""The sliding window: tile places, weights, blending, padding, mirroring."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fednnunet.device import Device
from fednnunet.errors import DataError
from fednnunet.inference.compute import Compute
from fednnunet.inference.sliding import predict_logits
from fednnunet.inference.tiles import gaussian


class Pointwise(nn.Module):
    """Two logits that depend on each voxel alone, so that tiling must not show."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :1] * 2, 1 - x[:, :1]], 1)


class Position(nn.Module):
    """A logit that depends on where a voxel lies in its tile, and on the image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ramp = torch.arange(x.shape[-1], dtype=x.dtype).expand_as(x[:, :1])
        return x[:, :1] + ramp


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 0


class Crowded(Position):
    """A network on a device whose memory holds `limit` tiles."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.asked: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(x))
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


def _data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize("shape", [(8, 8, 8), (11, 20, 9), (3, 5, 30)])
def test_tiling_does_not_show(shape: tuple[int, int, int], tiles: int) -> None:
    data = _data(1, *shape)
    compute = Compute(tiles=tiles)
    logits = predict_logits(Pointwise(), data, (8, 8, 8), compute=compute)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, np.stack([data[0] * 2, 1 - data[0]]), atol=1e-5)


def test_tiles_are_blended_by_their_weights(compute: Compute) -> None:
    data = _data(1, 8, 8, 13)
    logits = predict_logits(Position(), data, (8, 8, 8), compute=compute)
    weight = gaussian((8,)).astype(np.float64)
    total, weights = np.zeros(13), np.zeros(13)
    for start in (0, 2, 5):
        total[start : start + 8] += weight * np.arange(8)
        weights[start : start + 8] += weight
    np.testing.assert_allclose(
        logits[0] - data[0], np.broadcast_to(total / weights, (8, 8, 13)), atol=1e-4
    )


@pytest.mark.parametrize(("limit", "asked"), [(1, [4, 2, 1, 1]), (2, [4, 2, 2]), (3, [4, 2, 2])])
@pytest.mark.parametrize("mirror", [(), (2,)])
def test_tiles_that_do_not_fit_at_once_go_in_smaller_groups(
    limit: int, asked: list[int], mirror: tuple[int, ...]
) -> None:
    data, compute = _data(1, 8, 13, 20), Compute(tiles=4)
    options = {"compute": compute, "mirror_axes": mirror}
    network, told = Crowded(limit), []
    logits = predict_logits(
        network, data, (8, 8, 8), progress=lambda *figures: told.append(figures), **options
    )
    assert np.array_equal(logits, predict_logits(Position(), data, (8, 8, 8), **options))
    assert mirror or network.asked[: len(asked)] == asked
    assert told[-1][:2] == (12, 12) and max(network.asked[4:]) <= limit


def test_the_last_group_is_filled_up_where_a_device_wants_one_size() -> None:
    data, network = _data(1, 8, 8, 20), Crowded(4)
    filled = predict_logits(network, data, (8, 8, 8), compute=Compute(tiles=3, full=True))
    assert network.asked == [3, 3]
    plain = predict_logits(Position(), data, (8, 8, 8), compute=Compute(tiles=3))
    assert np.array_equal(filled, plain)


def test_a_tile_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(DataError, match="single tile") as caught:
        predict_logits(Crowded(0), _data(1, 8, 8, 13), (8, 8, 8), compute=Compute(tiles=4))
    assert "--device cpu" in caught.value.mend


def test_small_volumes_are_padded_about_their_middle(compute: Compute) -> None:
    seen = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.clone())
            return x

    data = np.ones((1, 3, 8, 4), np.float32)
    logits = predict_logits(Spy(), data, (8, 8, 8), compute=compute)
    assert logits.shape == (1, 3, 8, 4)
    (tile,) = seen
    assert tile[0, 0, 2:5, :, 2:6].min() == 1
    assert tile.sum() == data.sum()


def test_2d_goes_slice_by_slice(compute: Compute) -> None:
    data = _data(2, 5, 11, 9)
    logits = predict_logits(Pointwise(), data, (8, 8), compute=compute)
    np.testing.assert_allclose(logits[0], data[0] * 2, atol=1e-5)


@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_mirrors_are_averaged_as_logits(patch: tuple[int, ...], compute: Compute) -> None:
    data = _data(1, 8, 8, 8)
    axes = tuple(range(len(patch)))
    logits = predict_logits(Position(), data, patch, compute=compute, mirror_axes=axes)
    np.testing.assert_allclose(logits[0], data[0] + 3.5, atol=1e-5)


def test_channels_last_changes_nothing(compute: Compute) -> None:
    torch.manual_seed(0)
    network = nn.Conv3d(2, 3, 3, padding=1).eval()
    data = _data(2, 10, 9, 12)
    plain = predict_logits(network, data, (8, 8, 8), compute=compute)
    fast = Compute(device=Device(channels_last=True))
    placed = fast.place(network, 3)
    np.testing.assert_allclose(
        predict_logits(placed, data, (8, 8, 8), compute=fast), plain, atol=1e-5
    )


def test_values_that_are_not_finite_are_an_error(compute: Compute) -> None:
    with pytest.raises(DataError, match="not finite"):
        predict_logits(Broken(), _data(1, 8, 8, 8), (8, 8, 8), compute=compute)
