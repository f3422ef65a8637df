"""Extras travel in a message's tensors, each under a prefix that no tensor of a network has."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_PREFIX = "extras/"


def join(tensors: Mapping[str, Tensor], extras: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One mapping of a network's tensors and of the auxiliary ones that go with them."""
    return {**tensors, **{_PREFIX + name: tensor for name, tensor in extras.items()}}


def is_extra(name: str) -> bool:
    """Whether a tensor of a message is not one of the network's."""
    return name.startswith(_PREFIX)


def split(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A network's tensors, and the auxiliary ones of a message: the inverse of `join`."""
    network = {name: t for name, t in tensors.items() if not name.startswith(_PREFIX)}
    extras = {n.removeprefix(_PREFIX): t for n, t in tensors.items() if n.startswith(_PREFIX)}
    return network, extras
