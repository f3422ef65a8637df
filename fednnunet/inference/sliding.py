"""Sliding window inference: overlapping tiles, weighted by a Gaussian, as in nnU-Net.

The window sweeps along the first axis. As soon as no further tile reaches a plane, its logits are
final and are handed on, so that logits are held for the planes of one row of tiles only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from fednnunet.errors import DataError, InputError
from fednnunet.inference.blending import Blend
from fednnunet.inference.compute import Compute
from fednnunet.inference.tiles import Tile, Tiling
from fednnunet.inference.views import Views
from fednnunet.progress import Progress

Sink = Callable[[int, Tensor], int]
"""Takes final logits (k, n, rows, x) of the planes from the given one on; returns the first plane
that it needs again. The tensor is overwritten later."""


class Window:
    """The tiles of one prepared volume float32 (c, z, y, x), and where it lies in their grid.

    With a 2D `patch_vox` (y, x), each slice is predicted separately. Volumes smaller than the patch
    are padded symmetrically with zeros. Tiles are at most `step` patches apart.
    """

    def __init__(self, data: np.ndarray, patch_vox: Sequence[int], *, step: float = 0.5) -> None:
        if not 0 < step <= 1:
            raise InputError(f"the step is {step}", mend="give a step above 0 and at most 1")
        self._patch = tuple(patch_vox)
        self._data, self._inner = _pad(data, self._patch)
        self.tiling = Tiling.of(self._data.shape[1:], self._patch, step)

    def tiles(self, rows: slice) -> list[Tile]:
        """The tiles that reach into these rows of the volume."""
        return self.tiling.tiles(self._inside(rows))

    def sweep(
        self,
        views: Views,
        rows: slice,
        sink: Sink,
        *,
        compute: Compute,
        spare: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> Compute:
        """Hand the logits of the volume's `rows` to `sink`, plane by plane, and return `compute`.

        If a batch of tiles does not fit into the device's memory, its size is halved for this and
        all further batches, and so it is in what is returned. `spare` is the number of planes that
        `sink` holds back; `progress` is told of every tile. Raises DataError if a single tile does
        not fit, or if the network gives values that are not finite.
        """
        within = self._inside(rows)
        tiles = self.tiling.tiles(within)
        blend = Blend(self.tiling, within, compute.device, spare=spare)
        done = 0
        with torch.inference_mode(), compute.device.tuned():
            while done < len(tiles):
                group = tiles[done : done + compute.tiles]
                batch = self._gather(group, compute.tiles if compute.full else len(group))
                logits = _run_if_it_fits(views, batch, compute)
                if logits is None:
                    compute = compute.smaller(len(batch))
                    continue
                blend.add(group, logits)
                done += len(group)
                self._hand_on(blend, tiles[done][0].start if done < len(tiles) else None, sink)
                if progress:
                    progress(len(group))
        return compute

    def _hand_on(self, blend: Blend, stop: int | None, sink: Sink) -> None:
        """Give `sink` the planes before `stop`, and forget those that it is done with."""
        depth, _, width = self._inner
        stop = self.tiling.grid[0] if stop is None else stop
        start, planes = blend.final(stop)
        low, high = max(start, depth.start), min(stop, depth.stop)
        if low >= high:
            return
        planes = planes[:, low - start : high - start, :, width]
        if not all(bool(torch.isfinite(channel).all()) for channel in planes):
            raise DataError(
                "the network gives values that are not finite",
                mend="check the image for extreme intensities, or predict with --device cpu",
            )
        blend.drop(min(sink(low - depth.start, planes) + depth.start, stop))

    def _inside(self, rows: slice) -> slice:
        first = self._inner[1].start
        return slice(rows.start + first, rows.stop + first)

    def _gather(self, group: Sequence[Tile], count: int) -> Tensor:
        """Tiles as one batch (count, c, *patch); zeros stand for those that the group lacks."""
        batch = np.zeros((count, len(self._data), *self._patch), np.float32)
        for tile, place in zip(group, batch, strict=False):
            place[:] = self._data[(slice(None), *tile)].reshape(place.shape)
        return torch.from_numpy(batch)


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
    """All logits float32 (k, z, y, x) of `data` float32 (c, z, y, x), for volumes that are small.

    See `Window`. `mirror_axes` are axes of the patch; the logits of all combinations of flips are
    averaged. `network` is in eval mode on `compute.device`.
    """
    window = Window(data, patch_vox, step=step)
    height = data.shape[2]
    parts: list[np.ndarray] = []
    done, total = 0, len(window.tiles(slice(0, height)))

    def keep(first: int, planes: Tensor) -> int:
        parts.append(planes.cpu().numpy().copy())
        return first + planes.shape[1]

    def tell(tiles: int) -> None:
        nonlocal done
        done += tiles
        if progress:
            progress(done, total, "tiles")

    views = Views(networks=(network,), mirror_axes=tuple(mirror_axes))
    window.sweep(views, slice(0, height), keep, compute=compute, progress=tell)
    return np.concatenate(parts, axis=1)


def _pad(data: np.ndarray, patch: tuple[int, ...]) -> tuple[np.ndarray, tuple[slice, slice, slice]]:
    """The data, padded to at least the patch size, and the slices of the data in them."""
    wanted = (1,) * (3 - len(patch)) + patch
    padding = [max(p - n, 0) for p, n in zip(wanted, data.shape[1:], strict=True)]
    before = [p // 2 for p in padding]
    z, y, x = (slice(b, b + n) for b, n in zip(before, data.shape[1:], strict=True))
    if not any(padding):
        return data, (z, y, x)
    widths = [(b, p - b) for b, p in zip(before, padding, strict=True)]
    return np.pad(data, [(0, 0), *widths]), (z, y, x)


def _run_if_it_fits(views: Views, batch: Tensor, compute: Compute) -> Tensor | None:
    """The logits of a batch, or `None` if it does not fit into the device's memory."""
    with suppress(torch.OutOfMemoryError):
        return views(batch, compute.device)
    return None
