"""An eighth of the bytes and less: what training changed, in a few bits a weight.

Each output channel of a weight tensor has a scale s, and each of its changes c becomes

    q = clamp(round(c / s), -L, L),    L = 2^(bits - 1) - 1,

which travels as q + L in 8, 4 or 2 bits (2 bits are the three values -s, 0, s). With 8 bits L s is
the channel's largest change. With fewer bits a smaller s can be better, which cuts off the largest
changes; the one with the least squared error among a few is taken.

With `stochastic` a change is rounded up or down at random, by its distance, so that its mean is
kept (QSGD; Alistarh et al., NeurIPS 2017). Otherwise it is rounded to the nearest value, and error
feedback keeps what is lost (see `change`). The codes are compressed; norm layers and biases are
sent whole. After Konecny et al., "Federated Learning: Strategies for Improving Communication
Efficiency", 2016.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from fednnunet.federation.filters.change import (
    compressed,
    decompressed,
    from_bytes,
    to_bytes,
    with_changes,
    with_codes,
)
from fednnunet.federation.filters.filter import FilterContext
from fednnunet.network.tensors import Tensors

_CLIPS = (1.0, 0.8, 0.6, 0.45, 0.3, 0.2)  # shares of a channel's largest change


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """The change against the received tensors, in 8, 4 or 2 bits with a scale for each channel."""

    bits: Literal[8, 4, 2] = 8
    """Bits of each weight before compression."""
    stochastic: bool = False
    """Whether to round at random, so that the mean is kept, and not to the nearest value."""
    error_feedback: bool = True
    """Whether a site adds what rounding lost to its next change."""

    @property
    def words(self) -> str:
        """For the ledger."""
        return f"weights as their change in this round, in {self.bits} bits"

    def site(self, payload: Tensors, context: FilterContext, /) -> dict[str, Tensor]:
        """Codes of changes; the rest as it is."""

        def code(name: str, change: Tensor) -> Tensor:
            return encode(change, bits=self.bits, seed=self._seed(name, context))

        back = partial(decode, bits=self.bits) if self.error_feedback else None
        return with_codes(payload, context, code, back)

    def coordinator(self, payload: Tensors, context: FilterContext, /) -> dict[str, Tensor]:
        """The received tensors with the changes added."""
        return with_changes(payload, context, partial(decode, bits=self.bits))

    def _seed(self, name: str, context: FilterContext) -> int | None:
        """Of random rounding: the same if a round is repeated. None for none."""
        if not self.stochastic:
            return None
        about = f"{context.run}/{context.site}/{context.phase}/{context.round}/{name}"
        return int.from_bytes(hashlib.sha256(about.encode()).digest()[:7])


def encode(change: Tensor, *, bits: int, seed: int | None = None) -> Tensor:
    """The code (n,) of uint8 of a change (channels, ...); with a seed it is rounded at random."""
    rows = change.reshape(len(change), -1).float()
    levels = 2 ** (bits - 1) - 1
    scales = _best_scales(rows, levels)
    ratio = rows / scales.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    if seed is None:
        rounded = ratio.round()
    else:
        generator = torch.Generator().manual_seed(seed)
        rounded = (ratio + torch.rand(ratio.shape, generator=generator)).floor()
    values = rounded.clamp(-levels, levels).add(levels).to(torch.uint8).flatten()
    return compressed(to_bytes(scales) + to_bytes(_packed(values, bits)))


def decode(code: Tensor, like: Tensor, *, bits: int) -> Tensor:
    """The change (float32) of the shape of `like`; raises ValueError for what is no such code."""
    levels, channels, count = 2 ** (bits - 1) - 1, len(like), like.numel()
    size = 4 * channels
    data = decompressed(code, size + -(-count * bits // 8))
    scales = from_bytes(data[:size], torch.float32)
    values = _unpacked(from_bytes(data[size:], torch.uint8), bits)[:count]
    if not bool(torch.isfinite(scales).all()) or bool((scales < 0).any()):
        raise ValueError("a scale is negative or not finite")
    if bool((values > 2 * levels).any()):
        raise ValueError(f"a value does not fit into {bits} bits with a sign")
    rows = (values.float() - levels).reshape(channels, -1) * scales[:, None]
    return rows.reshape(like.shape)


def _best_scales(rows: Tensor, levels: int) -> Tensor:
    """The scale (channels,) with the least squared error among some shares of the largest."""
    largest = rows.abs().amax(1)
    best, scales = torch.full_like(largest, torch.inf), torch.zeros_like(largest)
    for clip in _CLIPS if levels < 127 else _CLIPS[:1]:
        tried = clip * largest / levels
        steps = (rows / tried.clamp_min(1e-38)[:, None]).round_().clamp_(-levels, levels)
        error = (steps * tried[:, None] - rows).square().sum(1)
        scales = torch.where(error < best, tried, scales)
        best = torch.minimum(best, error)
    return scales


def _packed(values: Tensor, bits: int) -> Tensor:
    """Values (n,) below 2^bits, several to a byte, the first in the lowest bits."""
    each = 8 // bits
    if each == 1:
        return values
    padded = torch.nn.functional.pad(values, (0, -len(values) % each)).reshape(-1, each)
    result = torch.zeros(len(padded), dtype=torch.uint8)
    for place in range(each):
        result |= padded[:, place] << (bits * place)
    return result


def _unpacked(data: Tensor, bits: int) -> Tensor:
    """The values of `_packed`, and those that it padded."""
    each = 8 // bits
    parts = [(data >> (bits * place)) & (2**bits - 1) for place in range(each)]
    return torch.stack(parts, 1).flatten()
