"""What each site changed in a round, for methods that compare sites by the way they pull."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from fednnunet.federation.methods.method import Reply, State, Tensors
from fednnunet.federation.weights import difference
from fednnunet.network.roles import is_trained


def updates(state: State, replies: Iterable[Reply]) -> dict[str, dict[str, Tensor]]:
    """For each site, sorted by name, reply - received over the trained tensors, in float64.

    Counters and running statistics are left out: no gradient moves them.
    """
    ordered = sorted(replies, key=lambda reply: reply.site)
    return {r.site: difference(r.tensors, _trained(state.received(r.site))) for r in ordered}


def _trained(tensors: Tensors) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if is_trained(name, tensor)}
