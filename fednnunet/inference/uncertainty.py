"""How unsure a network is, voxel by voxel: the entropy of its own probabilities, and their spread.

Both are written for a few native planes at a time. Channels are resampled one by one, so that
memory for a few planes is enough for any number of classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fednnunet.inference.native import Block, NativeGrid


class Entropy:
    """Writes the entropy of `outputs` channels into `out` (z, y, x), float32, of the native crop.

    It is from 0 (sure) to 1 (any class). With p the softmax over k labels it is -sum(p log p) /
    log k; with `regions`, the mean over the regions of the entropy of each sigmoid, divided by
    log 2. Logits are the mean over networks and flips if there are several, so that disagreement
    among them flattens the softmax and counts, too.
    """

    def __init__(self, grid: NativeGrid, out: np.ndarray, *, outputs: int, regions: bool) -> None:
        self._grid, self._out = grid, out
        self._outputs, self._regions = outputs, regions

    def write(self, block: Block) -> None:
        """Write the planes and rows of a block."""
        width = slice(0, self._grid.x.new)
        channels = (
            self._grid.values(block, [index], block.rows, width)[0]
            for index in range(self._outputs)
        )
        entropy = _of_regions(channels) if self._regions else _of_softmax(channels)
        self._out[block.out, block.rows] = entropy.cpu().numpy()


class Spread:
    """Writes the last channel, which `Views` adds, into `out` (z, y, x), float32."""

    def __init__(self, grid: NativeGrid, out: np.ndarray, *, channel: int) -> None:
        self._grid, self._out, self._channel = grid, out, channel

    def write(self, block: Block) -> None:
        """Write the planes and rows of a block."""
        width = slice(0, self._grid.x.new)
        found = self._grid.values(block, [self._channel], block.rows, width)[0]
        self._out[block.out, block.rows] = found.cpu().numpy()


def unsure_share(entropy: np.ndarray, mask: np.ndarray) -> float:
    """The unsure voxels of a case for every voxel of its mask; infinite where nothing is found.

    A voxel counts by its entropy (0 to 1). The volume's size does not matter, and what may have
    been missed counts as much as what may be too much.
    """
    found = int((mask > 0).sum())
    return float(entropy.sum(dtype=np.float64)) / found if found else math.inf


def _of_softmax(channels: Iterator[Tensor]) -> Tensor:
    """log Z - sum(exp(l) l) / Z over the channels' logits l, with Z the sum of exp(l), by log k.

    The logits so far are kept relative to their maximum, so that nothing overflows.
    """
    top = next(channels).clone()
    total, weighted = torch.ones_like(top), torch.zeros_like(top)  # of exp(l - top), and times that
    count = 1
    for current in channels:
        higher = torch.maximum(top, current)
        scale = torch.exp(top - higher)
        weighted = scale * (weighted + (top - higher) * total)
        total = total * scale
        share = torch.exp(current - higher)
        total += share
        weighted += share * (current - higher)
        top = higher
        count += 1
    entropy = torch.log(total) - weighted / total
    return (entropy / math.log(max(count, 2))).clamp_(0, 1)


def _of_regions(channels: Iterator[Tensor]) -> Tensor:
    """The mean of the binary entropies, each log(1 + e) + |l| e / (1 + e) with e = exp(-|l|)."""
    total, count = torch.zeros(()), 0
    for current in channels:
        size = current.abs()
        small = torch.exp(-size)
        total = total.to(size) + torch.log1p(small) + size * small / (1 + small)
        count += 1
    return (total / (count * math.log(2))).clamp_(0, 1)
