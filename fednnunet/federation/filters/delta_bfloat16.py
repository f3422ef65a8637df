"""Half the bytes: what training changed, in bfloat16, with error feedback.

A site sends, for each floating-point tensor of the network,

    q = bfloat16(new - received + e),      e' = (new - received + e) - q,

and the coordinator goes on with received + q. Rounding loses up to 2^-9 of each change; with error
feedback the site keeps that loss e' and adds it to its next change, so that no part of a change is
lost over the rounds (Seide et al., "1-Bit Stochastic Gradient Descent", Interspeech 2014;
Karimireddy et al., "Error Feedback Fixes SignSGD", ICML 2019). Integer tensors and a method's
extras are sent as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fednnunet.errors import ReplyError
from fednnunet.federation.filters.change import is_change, with_feedback
from fednnunet.federation.filters.filter import FilterContext
from fednnunet.network.tensors import Tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaBfloat16:
    """The change against the received tensors, rounded to bfloat16."""

    error_feedback: bool = True
    """Whether a site adds what rounding lost to its next change."""

    @property
    def words(self) -> str:
        """For the ledger."""
        return "weights as their change in this round, in bfloat16"

    def site(self, payload: Tensors, context: FilterContext, /) -> dict[str, Tensor]:
        """Changes in bfloat16; the rest as it is."""
        return {
            name: self._rounded(name, tensor, context) if is_change(name, context) else tensor
            for name, tensor in payload.items()
        }

    def _rounded(self, name: str, tensor: Tensor, context: FilterContext) -> Tensor:
        back = _as_change if self.error_feedback else None
        return with_feedback(name, tensor, context, _as_bfloat16, back)

    def coordinator(self, payload: Tensors, context: FilterContext, /) -> dict[str, Tensor]:
        """The received tensors with the changes added."""
        return {
            name: _added(name, tensor, context) if is_change(name, context) else tensor
            for name, tensor in payload.items()
        }


def _as_bfloat16(change: Tensor) -> Tensor:
    return change.to(torch.bfloat16)


def _as_change(rounded: Tensor, change: Tensor) -> Tensor:
    return rounded.to(change.dtype)


def _added(name: str, change: Tensor, context: FilterContext) -> Tensor:
    received = context.received[name]
    if change.dtype != torch.bfloat16 or change.shape != received.shape:
        raise ReplyError(
            f"the change of tensor {name} is {list(change.shape)} {change.dtype}, "
            f"not {list(received.shape)} {torch.bfloat16}",
            where=f"reply of site {context.site}",
            mend="coordinator and site must have the same training.filters and version",
        )
    return received + change.to(received.dtype)
