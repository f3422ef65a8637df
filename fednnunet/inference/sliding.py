"""Sliding window inference: overlapping tiles, weighted by a Gaussian, as in nnU-Net.

Tiles are evenly spaced by at most half a patch. The Gaussian has sigma = patch / 8. Logits of
mirrored copies are averaged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import torch

from fednnunet.errors import DataError
from fednnunet.inference.blending import Blend, Tile
from fednnunet.inference.compute import Compute
from fednnunet.progress import Progress

PEAK = 10.0
SIGMA = 1 / 8


def predict_logits(
    network: torch.nn.Module,
    data: np.ndarray,
    patch_vox: Sequence[int],
    *,
    compute: Compute,
    mirror_axes: Sequence[int] = (),
    step: float = 0.5,
    progress: Progress | None = None,
) -> np.ndarray:
    """Logits float32 (k, z, y, x) of `data` float32 (c, z, y, x).

    With a 2D `patch_vox` (y, x), each slice is predicted separately. `mirror_axes` are axes of the
    patch; the logits of all combinations of flips are averaged. `network` is in eval mode on
    `compute.device`. Volumes smaller than the patch are padded symmetrically with zeros. If a batch
    of tiles does not fit into the device's memory, its size is halved for this and all further
    batches. Raises DataError if a single tile does not fit, or if the network gives values that are
    not finite.
    """
    patch = tuple(patch_vox)
    padded, inner = _pad(data, patch)
    grid = padded.shape[1:]
    tiles = list(_tiles(grid, patch, step))
    blend = Blend(grid, gaussian(patch), compute.device)
    with torch.inference_mode(), compute.device.tuned():
        done, fitting = 0, compute
        while done < len(tiles):
            group = tiles[done : done + fitting.tiles]
            batch = _gather(padded, group, patch, fitting.tiles if fitting.full else len(group))
            logits = _run_if_it_fits(network, batch, fitting, mirror_axes)
            if logits is None:
                fitting = fitting.smaller(len(batch))
                continue
            blend.add(group, logits)
            done += len(group)
            if progress:
                progress(done, len(tiles), "tiles")
        result = blend.mean(inner)
    if result is None:
        raise DataError(
            "the network gives values that are not finite",
            mend="check the image for extreme intensities, or predict with --device cpu",
        )
    return result


def tile_starts(size: int, patch: int, step: float) -> tuple[int, ...]:
    """First voxels of the tiles along one axis: evenly spaced by at most `step` patches."""
    count = math.ceil((size - patch) / (patch * step)) + 1
    if count == 1:
        return (0,)
    return tuple(round((size - patch) / (count - 1) * i) for i in range(count))


def gaussian(patch: Sequence[int]) -> np.ndarray:
    """The weights of a tile's voxels, float32: `PEAK` in the centre, positive everywhere.

    Half a patch is four sigma, so that the smallest weight is far above float32's underflow.
    """
    weight = np.full((1,) * len(patch), PEAK, np.float64)
    for axis, size in enumerate(patch):
        profile = np.exp(-0.5 * ((np.arange(size) - size // 2) / (size * SIGMA)) ** 2)
        shape = [1] * len(patch)
        shape[axis] = size
        weight = weight * profile.reshape(shape)
    return weight.astype(np.float32)


def _pad(data: np.ndarray, patch: tuple[int, ...]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """The data, padded to at least the patch size, and the slices of the data in them."""
    wanted = (1,) * (3 - len(patch)) + patch
    padding = [max(p - n, 0) for p, n in zip(wanted, data.shape[1:], strict=True)]
    before = [p // 2 for p in padding]
    inner = tuple(slice(b, b + n) for b, n in zip(before, data.shape[1:], strict=True))
    if not any(padding):
        return data, inner
    widths = [(b, p - b) for b, p in zip(before, padding, strict=True)]
    return np.pad(data, [(0, 0), *widths]), inner


def _tiles(grid: Sequence[int], patch: tuple[int, ...], step: float) -> Iterator[Tile]:
    """Boxes (z, y, x) of the tiles; those of a 2D patch are one slice thick."""
    flat = 3 - len(patch)
    starts = [range(n) for n in grid[:flat]]
    edges = zip(grid[flat:], patch, strict=True)
    places: list[Sequence[int]] = [*starts, *(tile_starts(n, p, step) for n, p in edges)]
    sizes = (1,) * flat + patch
    for corner in itertools.product(*places):
        yield tuple(slice(c, c + size) for c, size in zip(corner, sizes, strict=True))


def _gather(
    data: np.ndarray, group: Sequence[Tile], patch: tuple[int, ...], count: int
) -> torch.Tensor:
    """Tiles as one batch (count, c, *patch); zeros stand for those that the group lacks."""
    batch = np.zeros((count, len(data), *patch), np.float32)
    for tile, place in zip(group, batch, strict=False):
        place[:] = data[(slice(None), *tile)].reshape(place.shape)
    return torch.from_numpy(batch)


def _run_if_it_fits(
    network: torch.nn.Module, batch: torch.Tensor, compute: Compute, mirror_axes: Sequence[int]
) -> torch.Tensor | None:
    """`_run`, or `None` if the batch does not fit into the device's memory."""
    with suppress(torch.OutOfMemoryError):
        return _run(network, batch, compute, mirror_axes)
    return None


def _run(
    network: torch.nn.Module, batch: torch.Tensor, compute: Compute, mirror_axes: Sequence[int]
) -> torch.Tensor:
    """Logits (b, k, *patch) float32 on the device, averaged over all flips of the mirror axes."""
    batch = batch.to(compute.device.torch_device)
    batch = compute.device.arrange(batch)
    axes = sorted(axis + 2 for axis in mirror_axes)
    flips = [c for n in range(len(axes) + 1) for c in itertools.combinations(axes, n)]
    total: torch.Tensor | None = None
    with compute.device.autocast():
        for flip in flips:
            logits = network(batch.flip(flip) if flip else batch)
            logits = (logits.flip(flip) if flip else logits).float()
            total = logits if total is None else total + logits
    if total is None:
        raise DataError("no tile was given", mend="give a volume with at least one voxel")
    return total / len(flips)
