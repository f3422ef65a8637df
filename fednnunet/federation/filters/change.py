"""What filters that send changes share: which tensors are changed, error feedback, and bytes.

A site sends, in place of the tensors of the network, a code for

    c = new - received + e,      e' = c - decoded(code),

and the coordinator goes on with received + decoded(code). With error feedback the site keeps what
the code lost, e', and adds it to its next change, so that no part of a change is lost over the
rounds (Seide et al., "1-Bit Stochastic Gradient Descent", Interspeech 2014; Karimireddy et al.,
"Error Feedback Fixes SignSGD", ICML 2019).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from fednnunet.errors import FedNNUNetError, ReplyError
from fednnunet.federation.filters.filter import FilterContext
from fednnunet.federation.wire.extras import is_extra
from fednnunet.network.roles import is_norm
from fednnunet.network.tensors import Tensors

Encode = Callable[[Tensor], Tensor]
"""A code for a change."""
Decode = Callable[[Tensor, Tensor], Tensor]
"""A change, like the second tensor, from its code; raises ValueError for what is no such code."""

_LEVEL = 6  # of zlib: more takes longer and saves nothing that counts


def is_change(name: str, context: FilterContext) -> bool:
    """Whether a tensor is sent as a change: both sides decide it from what was received."""
    received = context.received.get(name)
    return received is not None and received.is_floating_point() and not is_extra(name)


def is_coded(name: str, context: FilterContext) -> bool:
    """Whether a lossy code is worth it: changes of weights, but not of norm layers and biases.

    These are few, and errors in them change whole channels.
    """
    return is_change(name, context) and context.received[name].ndim > 1 and not is_norm(name)


def with_feedback(
    name: str, tensor: Tensor, context: FilterContext, encode: Encode, decode: Decode | None
) -> Tensor:
    """The code of a tensor's change; with `decode` what it loses is kept for the next round."""
    change = tensor - context.received[name]
    if decode is None:
        return encode(change)
    if name in context.memory:
        change = change + context.memory[name]
    code = encode(change)
    context.memory[name] = change - decode(code, change)
    return code


def sent_change(
    name: str, tensor: Tensor, context: FilterContext, encode: Encode, decode: Decode | None
) -> Tensor:
    """As `with_feedback`; raises FedNNUNetError for values that are not finite: no code has them.

    Nothing is kept of them.
    """

    def encode_finite(change: Tensor) -> Tensor:
        if not bool(torch.isfinite(change).all()):
            raise FedNNUNetError(
                f"after local training, tensor {name} holds values that are not finite",
                where=f"site {context.site}, round {context.round + 1}",
                mend="lower the recipe's learning rate, or check the intensities of this site's "
                "images",
            )
        return encode(change)

    return with_feedback(name, tensor, context, encode_finite, decode)


def with_codes(
    payload: Tensors,
    context: FilterContext,
    encode: Callable[[str, Tensor], Tensor],
    decode: Decode | None,
) -> dict[str, Tensor]:
    """The payload with codes in the place of tensors that are coded; `encode` sees their names."""
    return {
        name: sent_change(name, tensor, context, partial(encode, name), decode)
        if is_coded(name, context)
        else tensor
        for name, tensor in payload.items()
    }


def with_changes(payload: Tensors, context: FilterContext, decode: Decode) -> dict[str, Tensor]:
    """The payload with the received tensors plus their changes in the place of codes.

    Raises ReplyError, which names the tensor, for what is no code of a change.
    """
    return {
        name: _added(name, code, context, decode) if is_coded(name, context) else code
        for name, code in payload.items()
    }


def _added(name: str, code: Tensor, context: FilterContext, decode: Decode) -> Tensor:
    received = context.received[name]
    try:
        if code.dtype != torch.uint8 or code.ndim != 1:
            raise ValueError(f"it is {list(code.shape)} {code.dtype}")
        change = decode(code, received)
    except ValueError as error:
        raise ReplyError(
            f"the change of tensor {name} cannot be read: {error}",
            where=f"reply of site {context.site}",
            mend="coordinator and site must have the same training.filters and version",
        ) from None
    return received + change.to(received.dtype)


def to_bytes(tensor: Tensor) -> bytes:
    """The bytes of a tensor's values, in order."""
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def from_bytes(data: bytes, dtype: torch.dtype) -> Tensor:
    """The values (n,) whose bytes these are."""
    if not data:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype)


def compressed(data: bytes) -> Tensor:
    """A code (n,) of uint8: the data after entropy coding."""
    return from_bytes(zlib.compress(data, _LEVEL), torch.uint8)


def decompressed(code: Tensor, size: int) -> bytes:
    """The `size` bytes of data in a code; raises ValueError for more, fewer, or no such code."""
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(to_bytes(code), size + 1)
    except zlib.error:
        raise ValueError("it is not compressed as it should be") from None
    if len(data) != size or not reader.eof:
        raise ValueError(f"it does not have {size} bytes of data")
    return data
