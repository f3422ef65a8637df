"""A server step is an optimiser: the mean of the replies gives its gradient.

Reddi et al., "Adaptive Federated Optimization", ICLR 2021. With x the shared tensors, the
coordinator sees the update D = mean(replies) - x, takes -D as a gradient, and lets an optimiser
make the step. What the optimiser remembers lies in `State.memory` as `<moment>/<tensor>`, so
that a run goes on from a checkpoint bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Followed, Merge, Needs, State, Tensors
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
    negative. All is computed in float64; moments are kept in the tensor's own precision, float32 at
    least. Where all replies equal the shared tensors and no momentum is left, nothing changes.
    `step` is the round's number, so the optimiser begins with the run.
    """

    keeps_equal_sites: ClassVar[bool] = False

    optimiser: Optimiser
    mean: Merge = mean_by_cases

    @property
    def needs(self) -> Needs:
        """As `mean`."""
        return self.mean.needs

    def start(self, state: State, /) -> Followed:
        """Begin the mean of a round, after which the step is made."""
        return Followed(self.mean.start(state), partial(self._step, state))

    def artefacts(self, state: State, /) -> Mapping[str, object]:
        """Those of `mean`."""
        return self.mean.artefacts(state)

    def _step(self, state: State, mean: State) -> State:
        shared, memory = dict(mean.shared), dict(mean.memory)
        for name, old in state.shared.items():
            if not is_trained(name, old):
                continue
            update = shared[name].to(torch.float64) - old.to(torch.float64)
            moments = self._recall(state.memory, name, update)
            step, new = self.optimiser(update, moments, mean.round)
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
