"""Inner products of the sites' updates in a round, for methods that compare their directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fednnunet.federation.methods.merge import Reply, State
from fednnunet.network.roles import is_trained


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProducts:
    """Inner products (n, n) in float64 of the updates of n sites: reply minus what was received.

    They suffice for the cosines between sites and between weighted sums of sites, and are small.
    """

    sites: tuple[str, ...]
    products: Tensor

    @classmethod
    def of(
        cls, state: State, replies: Sequence[Reply], over: Callable[[str], bool] | None = None
    ) -> UpdateProducts:
        """From the replies to `state`, whatever their order.

        Only trained tensors count, of which `over(name)` may choose some: counters and running
        statistics are not moved by gradients.
        """
        ordered = sorted(replies, key=lambda reply: reply.site)
        total = torch.zeros((len(ordered), len(ordered)), dtype=torch.float64)
        for name, tensor in sorted(state.shared.items()):
            if is_trained(name, tensor) and (over is None or over(name)):
                updates = torch.stack([_update(state, reply, name) for reply in ordered])
                total += updates @ updates.T
        return cls(sites=tuple(reply.site for reply in ordered), products=total)

    def cosine(self, one: Mapping[str, float], other: Mapping[str, float]) -> float:
        """The cosine of the angle between two sums of updates, given as weights by site.

        A site that is not named counts nothing. The cosine is 0 where one of the sums is zero.
        """
        left, right = self._vector(one), self._vector(other)
        squares = float(left @ self.products @ left) * float(right @ self.products @ right)
        if squares <= 0:
            return 0.0
        return max(-1.0, min(1.0, float(left @ self.products @ right) / squares**0.5))

    def _vector(self, weights: Mapping[str, float]) -> Tensor:
        return torch.tensor([weights.get(site, 0.0) for site in self.sites], dtype=torch.float64)


def _update(state: State, reply: Reply, name: str) -> Tensor:
    received = state.received(reply.site)[name].to(torch.float64)
    return (reply.tensors[name].to(torch.float64) - received).flatten()
