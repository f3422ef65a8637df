"""Weights of an earlier training as the first weights of a new one (warm start, transfer learning).

The encoder must be that of the new network, but for its first convolution, whose inputs are the
channels of the task. Heads are taken only where both tasks have the same labels; other tensors of
the decoder are taken where they fit. What is not taken keeps its first weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.network.tensors import Tensors
from fednnunet.task import Task

_INPUTS = ("encoder.0.stem.conv.weight", "encoder.0.blocks.0.conv.weight")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """First weights, and which of them were taken from an earlier training."""

    weights: dict[str, Tensor]
    """All tensors of the new network by name."""
    taken: tuple[str, ...]
    """Names of the tensors from the earlier training."""
    remade: tuple[str, ...]
    """Names of those that it does not have, or not for this task."""


def start_weights(given: Tensors, first: Tensors, *, same_labels: bool) -> Start:
    """First weights with all in them that fits of `given`, the tensors of an earlier network.

    `first` are the new network's own. Raises InputError where the encoders differ.
    """
    fits = {
        name: tensor
        for name, tensor in given.items()
        if name in first and tensor.shape == first[name].shape and tensor.dtype == first[name].dtype
    }
    lacking = [n for n in first if n.startswith("encoder.") and n not in fits and n not in _INPUTS]
    deeper = [n for n in given if n.startswith("encoder.") and n not in first]
    if lacking or deeper:
        raise InputError(
            f"the encoder of the given weights is not that of the plan: {(lacking + deeper)[0]} "
            f"differs, and {len(lacking) + len(deeper) - 1} more",
            mend="plan with the architecture of the given weights (fednnunet_plan --from-nnunet "
            "takes over a plan), or start from other weights",
        )
    taken = {n: t for n, t in fits.items() if same_labels or not n.startswith("heads.")}
    return Start(
        weights={n: taken.get(n, tensor).detach().clone() for n, tensor in first.items()},
        taken=tuple(n for n in first if n in taken),
        remade=tuple(n for n in first if n not in taken),
    )


def same_labels(one: Task, other: Task) -> bool:
    """Whether the heads of two tasks mean the same: equal labels, or equal regions."""
    if one.regions or other.regions:
        return list(one.regions.items()) == list(other.regions.items())
    return one.labels[1:] == other.labels[1:]


def weights_digest(tensors: Tensors) -> str:
    """SHA-256 over names, types, shapes and values, whatever the order of the names."""
    sums = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sums.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        sums.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sums.hexdigest()
