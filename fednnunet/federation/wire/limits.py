"""How large a reply may be, known from its invite, before any part of it is read."""

from __future__ import annotations

from fednnunet.federation.wire.messages import (
    MeasureInvite,
    Message,
    ModelInvite,
    ShapesInvite,
    TrainInvite,
)

_SMALL = 2**25  # bytes of a reply without tensors: larger than any header
_SUMS = 2**28  # of planning sums: a fingerprint has a few MiB for each channel
_MODEL = 2**34  # of a whole model
_TIMES_RECEIVED = 4  # weights, and a method's auxiliary tensors, which are at most as large


def reply_limit(invite: Message) -> int:
    """The largest number of bytes that any honest reply to `invite` has, with much to spare."""
    if isinstance(invite, (MeasureInvite, ShapesInvite)):
        return _SUMS
    if isinstance(invite, ModelInvite):
        return _MODEL
    if isinstance(invite, TrainInvite):
        sent = sum(t.numel() * t.element_size() for t in invite.tensors.values())
        return _SUMS + _TIMES_RECEIVED * sent
    return _SMALL
