"""A server step is an optimiser: the mean of the replies gives its gradient.

Reddi et al., "Adaptive Federated Optimization", ICLR 2021. With x the shared tensors, the
coordinator sees the update D = mean(replies) - x, takes -D as a gradient, and lets an optimiser
make the step. What the optimiser remembers lies in `State.memory` as `<moment>/<tensor>`, so
that a run goes on from a checkpoint bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from fednnunet.federation.methods.method import Merge, Reply, State, Tensors, mean_by_cases
from fednnunet.network.roles import is_trained


class Optimiser(Protocol):
    """One tensor's step."""

    moments: ClassVar[tuple[str, ...]]

    def __call__(
        self, update: Tensor, moments: Mapping[str, Tensor], step: int, /
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What to add to the tensor, and its new moments; all float64. `step` counts from 1."""
        ...


@dataclass(frozen=True, slots=True)
class ServerStep:
    """A merge: the step of `optimiser` along the update that `mean` would make.

    Only floating-point tensors that are trained take the step. Counters and the running statistics
    of batch normalisation are what `mean` says: a variance that an optimiser overshoots could turn
    negative. All is computed in float64; moments rest in the tensor's own precision, float32 at
    least. Where all replies equal the shared tensors and no momentum is left, nothing moves.
    `step` is the round's number, so the optimiser begins with the run.
    """

    optimiser: Optimiser
    mean: Merge = mean_by_cases

    def __call__(self, state: State, replies: Sequence[Reply], /) -> State:
        """The state after the round; the order of the replies does not matter if not to `mean`."""
        mean = self.mean(state, replies)
        shared, memory = dict(mean.shared), dict(mean.memory)
        for name, old in state.shared.items():
            if not is_trained(name, old):
                continue
            change = shared[name].to(torch.float64) - old.to(torch.float64)
            moments = self._recall(state.memory, name, change)
            step, new = self.optimiser(change, moments, mean.round)
            shared[name] = (old.to(torch.float64) + step).to(old.dtype)
            kept = torch.promote_types(old.dtype, torch.float32)
            memory |= {f"{moment}/{name}": tensor.to(kept) for moment, tensor in new.items()}
        return replace(mean, shared=shared, memory=memory)

    def _recall(self, memory: Tensors, name: str, like: Tensor) -> dict[str, Tensor]:
        found = {moment: memory.get(f"{moment}/{name}") for moment in self.optimiser.moments}
        return {
            moment: torch.zeros_like(like) if tensor is None else tensor.to(torch.float64)
            for moment, tensor in found.items()
        }
