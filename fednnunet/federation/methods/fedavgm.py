"""FedAvgM: the coordinator's step has momentum.

Hsu et al., "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification", 2019; as a server optimiser in Reddi et al., "Adaptive Federated Optimization",
ICLR 2021. With D the change that FedAvg would make and x the shared tensors,

    v = momentum * v + D,    x = x + rate * v,

which is torch.optim.SGD with momentum (no dampening, not Nesterov) on the gradient -D. There is no
correction of the first rounds: v begins at zero, so the first step is rate * D, and under a steady
change the steps grow to rate / (1 - momentum) * D. Momentum 0 and rate 1 are FedAvg.

The papers' momentum 0.9 with rate 1 lets the steps grow to ten times FedAvg's; where sites train by
AdamW for a few dozen rounds, that overshoots and does not settle. By the default of 0.5 for both, a
steady change is followed as by FedAvg.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.server_step import ServerStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Momentum:
    """Heavy-ball momentum for one tensor; `velocity` is its only moment."""

    moments: ClassVar[tuple[str, ...]] = ("velocity",)

    learning_rate: float = 0.5
    momentum: float = 0.5

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0 and 0 <= self.momentum < 1):
            raise InputError(
                f"learning_rate is {self.learning_rate} and momentum {self.momentum}",
                mend="choose a rate above 0 and a momentum from 0 to below 1",
            )

    def __call__(
        self, change: Tensor, moments: Mapping[str, Tensor], step: int, /
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What to add to the tensor, and its new velocity."""
        velocity = self.momentum * moments["velocity"] + change
        return self.learning_rate * velocity, {"velocity": velocity}


fedavgm = replace(
    fedavg,
    about="FedAvg whose server step has momentum 0.5 (FedAvgM, Hsu 2019, Reddi 2021)",
    merge=ServerStep(Momentum()),
)
