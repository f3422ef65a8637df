"""The role of a network's tensor, from its name: methods share or keep tensors by role."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from fednnunet.errors import InputError

Role = Literal["encoder", "decoder", "head"]

_ROLES: dict[str, Role] = {"encoder": "encoder", "decoder": "decoder", "heads": "head"}


def role(name: str) -> Role:
    """The part of the network that the tensor `name` belongs to; raises InputError if none."""
    first = name.split(".", 1)[0]
    if first not in _ROLES:
        raise InputError(
            f"{name!r} is no tensor of this network", mend=f"names begin with {list(_ROLES)}"
        )
    return _ROLES[first]


def is_norm(name: str) -> bool:
    """Whether the tensor belongs to a normalisation layer: affine or running."""
    return "norm" in name.split(".")


def is_trained(name: str, tensor: Tensor) -> bool:
    """Whether gradients train the tensor: no counter, and no running statistic."""
    running = name.rsplit(".", 1)[-1] in ("running_mean", "running_var")
    return tensor.is_floating_point() and not running


def encoder_stage(name: str) -> int | None:
    """The encoder's stage that the tensor belongs to, 0 the finest; None if it is not of it."""
    parts = name.split(".")
    return int(parts[1]) if role(name) == "encoder" else None
