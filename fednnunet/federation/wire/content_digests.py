"""Digests of what a message says, not of the bytes that carry it.

A site that receives its weights in fewer bytes, or with other entries of the log beside them,
trains from the same content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from fednnunet import records
from fednnunet.federation.wire.chain import canonical, digest
from fednnunet.federation.wire.messages import TrainInvite


@dataclass(frozen=True, slots=True)
class ContentDigests:
    """SHA-256 of tensors and invites; a tensor that is met again is not read again.

    No tensor may be changed while this lives.
    """

    _known: dict[int, tuple[Tensor, str]] = field(default_factory=dict)

    def tensors(self, tensors: Mapping[str, Tensor]) -> str:
        """Of names, types, shapes and values, whatever the order of the names."""
        parts = [
            [name, str(tensor.dtype), list(tensor.shape), self._values(tensor)]
            for name, tensor in sorted(tensors.items())
        ]
        return digest(canonical({"tensors": parts}))

    def invite(self, invite: TrainInvite) -> str:
        """Of an invite to train, without what it says of the log, and what kinds of it add."""
        names = {field.name for field in fields(TrainInvite)} - {"tensors", "log"}
        said = {name: records.encode(getattr(invite, name)) for name in sorted(names)}
        return digest(canonical({**said, "tensors": self.tensors(invite.tensors)}))

    def _values(self, tensor: Tensor) -> str:
        if id(tensor) not in self._known:
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            values = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
            found = hashlib.sha256(values).hexdigest()
            self._known[id(tensor)] = (tensor, found)
        return self._known[id(tensor)][1]
