"""A fraction of the bytes: only the largest changes of each tensor travel.

Of each weight tensor the `share` of the weights that changed most are sent, their places as 32-bit
integers and their changes in bfloat16, compressed; error feedback keeps the others for later rounds
(see `change`). Aji and Heafield, "Sparse Communication for Distributed Gradient Descent", EMNLP
2017; Stich et al., "Sparsified SGD with Memory", NeurIPS 2018. Norm layers and biases are sent
whole. It cannot be used under a sum of masked replies: every site sends other places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from fednnunet.errors import InputError
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
from fednnunet.ranges import Within, check_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    """The largest changes of each tensor; the others wait at the site."""

    share: Annotated[float, Within(1e-6, 1)] = 0.05
    """Share of each tensor's weights whose changes are sent."""
    error_feedback: bool = True
    """Whether a site adds what it did not send to its next change."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in training.filters")

    @property
    def words(self) -> str:
        """For the ledger."""
        return f"the largest {self.share:.3g} of the changes of each tensor in this round"

    def site(self, payload: Tensors, context: FilterContext, /) -> dict[str, Tensor]:
        """Codes of changes; the rest as it is."""

        def code(name: str, change: Tensor) -> Tensor:
            return encode(change, share=self.share)

        back = partial(decode, share=self.share) if self.error_feedback else None
        return with_codes(payload, context, code, back)

    def coordinator(self, payload: Tensors, context: FilterContext, /) -> dict[str, Tensor]:
        """The received tensors with the changes added."""
        return with_changes(payload, context, partial(decode, share=self.share))


def encode(change: Tensor, *, share: float) -> Tensor:
    """The code (n,) of uint8 of the largest changes."""
    flat = change.float().flatten()
    largest = flat.abs().topk(_count(flat, share)).indices
    places = largest.sort().values
    gaps = torch.diff(places, prepend=places.new_zeros(1)).to(torch.int32)
    return compressed(to_bytes(gaps) + to_bytes(flat[places].to(torch.bfloat16)))


def decode(code: Tensor, like: Tensor, *, share: float) -> Tensor:
    """The changes (float32) in the shape of `like`, zero where none was sent.

    Raises ValueError for what is no such code.
    """
    count, size = _count(like, share), like.numel()
    data = decompressed(code, 6 * count)
    gaps = from_bytes(data[: 4 * count], torch.int32).long()
    values = from_bytes(data[4 * count :], torch.bfloat16).float()
    places = gaps.cumsum(0)
    if bool((gaps[1:] < 1).any()) or int(gaps[0]) < 0 or int(places[-1]) >= size:
        raise ValueError("the places are not in order, or beyond the tensor")
    if not bool(torch.isfinite(values).all()):
        raise ValueError("a change is not finite")
    return torch.zeros(size).scatter_(0, places, values).reshape(like.shape)


def _count(tensor: Tensor, share: float) -> int:
    return max(1, math.ceil(share * tensor.numel()))
