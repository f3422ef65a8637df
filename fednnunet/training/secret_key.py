"""A site's key for noise, in the memory that is saved with its state and never sent."""

from __future__ import annotations

from collections.abc import MutableMapping

import torch
from torch import Tensor

from fednnunet.secret_noise import new_key, normal

NAME = "privacy/key"


def key_in(memory: MutableMapping[str, Tensor], name: str = NAME) -> bytes:
    """The key in a memory; a new one is put there where there is none."""
    if name not in memory:
        memory[name] = torch.frombuffer(bytearray(new_key()), dtype=torch.uint8).clone()
    return memory[name].cpu().numpy().tobytes()


def normal_like(key: bytes, use: str, tensor: Tensor) -> Tensor:
    """Standard normal numbers in the shape, type and place of a tensor; see `secret_noise`."""
    numbers = torch.from_numpy(normal(key, use, tensor.numel())).reshape(tensor.shape)
    return numbers.to(dtype=tensor.dtype, device=tensor.device)
