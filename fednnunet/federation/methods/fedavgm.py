"""FedAvgM: the coordinator's step has momentum.

Hsu et al., "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification", 2019; as a server optimiser in Reddi et al., "Adaptive Federated Optimization",
ICLR 2021. With D the update that FedAvg would make and x the shared tensors,

    v = momentum * v + D,    x = x + learning_rate * v,

which is torch.optim.SGD with momentum (no dampening, not Nesterov) on the gradient -D. There is no
correction of the first rounds: v is zero at first, so the first step is learning_rate * D, and
under a steady update the steps grow to learning_rate / (1 - momentum) * D. Momentum 0 and learning
rate 1 are FedAvg.

The papers' momentum 0.9 with learning rate 1 lets the steps grow to ten times FedAvg's; where sites
train by AdamW for a few dozen rounds, that overshoots and does not settle. With the default of 0.5
for both, a steady update is followed as by FedAvg.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.server_step import ServerStep
from fednnunet.federation.methods.settings import AllBut, Private


@dataclass(frozen=True, slots=True, kw_only=True)
class Momentum:
    """Heavy-ball momentum for one tensor; `velocity` is its only moment."""

    moments: ClassVar[tuple[str, ...]] = ("velocity",)

    learning_rate: float
    momentum: float

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0 and 0 <= self.momentum < 1):
            raise InputError(
                f"learning_rate is {self.learning_rate} and momentum {self.momentum}",
                mend="choose a learning rate above 0 and a momentum from 0 to below 1",
            )

    def __call__(
        self, update: Tensor, moments: Mapping[str, Tensor], step: int, /
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What to add to the tensor, and its new velocity."""
        velocity = self.momentum * moments["velocity"] + update
        return self.learning_rate * velocity, {"velocity": velocity}


@dataclass(frozen=True, slots=True, kw_only=True)
class FedAvgM:
    """FedAvg whose server step has momentum (FedAvgM, Hsu 2019, Reddi 2021)."""

    tag: ClassVar[str] = "fedavgm"

    learning_rate: float = 0.5
    """Learning rate of the server's step; FedAvg's is 1. Above 0."""

    momentum: float = 0.5
    """Momentum of the server's step, from 0 to below 1."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(
            is_shared=AllBut(self.private),
            merge=ServerStep(Momentum(learning_rate=self.learning_rate, momentum=self.momentum)),
        )
