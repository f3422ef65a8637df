"""From the prepared grid to the image's own, a few planes at a time.

Voxel centres keep their relative position, as in `preprocess.resample`: linear along fine axes,
nearest along a thick one. Every value is computed from its own neighbours by the same operations,
so that it does not depend on which part of a volume is resampled at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from fednnunet.planning.plan import Resampling
from fednnunet.preprocess.pipeline import Placement
from fednnunet.preprocess.resample import resample_logits, thick_axis
from fednnunet.preprocess.weights import coordinates, nearest

PLANES = 16  # of the native grid, that are resampled at once

Spline = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Along:
    """One axis: native voxel i is (1 - share[i]) * old[low[i]] + share[i] * old[high[i]].

    Without `share` it is old[low[i]].
    """

    low: np.ndarray
    high: np.ndarray
    share: np.ndarray | None
    old: int

    @classmethod
    def of(cls, old: int, new: int, order: int) -> Along:
        """From `old` voxels to `new`, by order 0 (nearest) or 1 (linear)."""
        if order == 0 or old == new:
            index = nearest(old, new)
            return cls(index, index, None, old)
        centres = np.clip(coordinates(old, new), 0, old - 1)
        low = np.floor(centres).astype(np.intp)
        return cls(low, np.minimum(low + 1, old - 1), centres - low, old)

    @property
    def new(self) -> int:
        """The number of native voxels."""
        return len(self.low)

    def into(self, out: slice) -> slice:
        """The old voxels that the native ones in `out` need."""
        return slice(int(self.low[out.start]), int(self.high[out.stop - 1]) + 1)

    def mix(self, values: Tensor, axis: int, out: slice) -> Tensor:
        """The native voxels in `out`, from the old ones `into(out)` along an axis of `values`."""
        first = self.into(out).start
        if self.share is None and len(self.low) == self.old:
            return values
        low, high = (torch.from_numpy(i[out] - first).to(values.device) for i in self._ends)
        result = values.index_select(axis, low)
        if self.share is None:
            return result
        shape = [1] * values.ndim
        shape[axis] = -1
        share = self.share[out]
        up, down = (
            torch.from_numpy(part).float().reshape(shape).to(values.device)
            for part in (share, 1 - share)
        )
        return result.mul_(down).add_(values.index_select(axis, high).mul_(up))

    @property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        return self.low, self.high


class NativeGrid:
    """The way from the prepared grid (z, y, x) to the native crop, axes in the plan's order.

    A `spline` resamples one channel (z, y, x) as a whole, since it clips by the channel's range;
    then all planes are needed at once.
    """

    def __init__(self, z: Along, y: Along, x: Along, spline: Spline | None = None) -> None:
        self.z, self.y, self.x, self._spline = z, y, x, spline

    @classmethod
    def of(cls, placement: Placement, resampling: Resampling) -> NativeGrid:
        """By the plan's rules, which say the order along each axis."""
        thick = thick_axis(placement.target_mm, placement.spacing_mm, resampling.anisotropy)
        orders = [resampling.logits_order] * 3
        if thick is not None:
            orders[thick] = resampling.thick_axis_order
        known = zip(placement.prepared_shape, placement.cropped_shape, orders, strict=True)
        z, y, x = (Along.of(old, new, min(order, 1)) for old, new, order in known)
        spline = None if max(orders) <= 1 else partial(_spline, placement, resampling)
        return cls(z, y, x, spline)

    @classmethod
    def unchanged(cls, shape: tuple[int, int, int]) -> NativeGrid:
        """From a grid to itself."""
        z, y, x = (Along.of(n, n, 0) for n in shape)
        return cls(z, y, x)

    @property
    def whole(self) -> bool:
        """Whether all planes are needed at once."""
        return self._spline is not None

    @property
    def spare(self) -> int:
        """The number of prepared planes that wait until those of a whole chunk are there."""
        if self.whole:
            return self.z.old
        return max(into.stop - into.start for _, into in self.chunks())

    def chunks(self) -> Iterator[tuple[slice, slice]]:
        """Ranges of native planes, each with the range of prepared planes that it needs."""
        step = self.z.new if self.whole else PLANES
        for start in range(0, self.z.new, step):
            out = slice(start, min(start + step, self.z.new))
            yield out, slice(0, self.z.old) if self.whole else self.z.into(out)

    def rows_into(self, rows: slice) -> slice:
        """The prepared rows that some native rows need, or lie at; of all rows, these are all."""
        if self.whole:
            return slice(0, self.y.old)
        needed, ratio = self.y.into(rows), self.y.old / self.y.new
        low, high = round(rows.start * ratio), round(rows.stop * ratio)
        return slice(min(needed.start, low), max(needed.stop, high))

    def values(self, block: Block, channels: Sequence[int], y: slice, x: slice) -> Tensor:
        """The logits (c, z, y, x) of some channels in the native rows `y` and columns `x`."""
        if self._spline is not None:
            return torch.stack([self._spline(block.planes[c]) for c in channels])[..., y, x]
        rows, columns = self.y.into(y), self.x.into(x)
        rows = slice(rows.start - block.first_row, rows.stop - block.first_row)
        part = block.planes[..., rows, columns]
        part = part if len(channels) == len(part) else part[list(channels)]
        part = self.x.mix(part, 3, x)
        part = self.y.mix(part, 2, y)
        return self.z.mix(part, 1, block.out)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """What is known for some native planes `out` (z) and `rows` (y).

    `planes` (k, n, rows, x) are the prepared planes that `out` needs, from `first_row` on.
    """

    planes: Tensor
    out: slice
    rows: slice
    first_row: int


def _spline(placement: Placement, rules: Resampling, channel: Tensor) -> Tensor:
    """A channel (z, y, x) on the native crop."""
    found = resample_logits(
        channel.cpu().numpy()[None],
        placement.target_mm,
        placement.spacing_mm,
        placement.cropped_shape,
        order=rules.logits_order,
        thick_axis_order=rules.thick_axis_order,
        anisotropy=rules.anisotropy,
    )
    return torch.from_numpy(found[0]).to(channel.device)
