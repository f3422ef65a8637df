"""FedAdam: the coordinator's step is Adam's.

Reddi et al., "Adaptive Federated Optimization", ICLR 2021. With D the update that FedAvg would make
and x the shared tensors, per element

    m = beta1 * m + (1 - beta1) * D
    v = beta2 * v + (1 - beta2) * D^2
    x = x + learning_rate * m / (sqrt(v) + adaptivity).

The paper leaves out Adam's correction of the bias towards zero of the first rounds, and so does the
default; `correct_bias` divides m by 1 - beta1^t and v by 1 - beta2^t in round t, which makes
it torch.optim.Adam on the gradient -D with eps = adaptivity. The paper initialises v with
adaptivity^2 or more; here it is 0 at first, as m is, since the adaptivity in the denominator
already bounds the step. Betas 0.9 and 0.99 and adaptivity 0.001 are the paper's. The paper tunes
the learning rate for each task; 0.003 did best of 0.001 to 0.01 on one federation of four sites
and 24 rounds.
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
class Adam:
    """Adam for one tensor, with `first` and `second` moment."""

    moments: ClassVar[tuple[str, ...]] = ("first", "second")

    learning_rate: float
    beta1: float
    beta2: float
    adaptivity: float
    correct_bias: bool

    def __post_init__(self) -> None:
        betas = 0 <= self.beta1 < 1 and 0 <= self.beta2 < 1
        if not (self.learning_rate > 0 and self.adaptivity > 0 and betas):
            raise InputError(
                f"learning_rate is {self.learning_rate}, beta1 {self.beta1}, beta2 {self.beta2} "
                f"and adaptivity {self.adaptivity}",
                mend="choose learning_rate and adaptivity above 0, betas from 0 to below 1",
            )

    def __call__(
        self, update: Tensor, moments: Mapping[str, Tensor], step: int, /
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What to add to the tensor in round `step` (from 1), and its new moments."""
        first = self.beta1 * moments["first"] + (1 - self.beta1) * update
        second = self.beta2 * moments["second"] + (1 - self.beta2) * update.square()
        of_first = 1 - self.beta1**step if self.correct_bias else 1.0
        of_second = 1 - self.beta2**step if self.correct_bias else 1.0
        size = (second / of_second).sqrt() + self.adaptivity
        return self.learning_rate * (first / of_first) / size, {"first": first, "second": second}


@dataclass(frozen=True, slots=True, kw_only=True)
class FedAdam:
    """FedAvg whose server step is Adam's (FedAdam, Reddi 2021)."""

    tag: ClassVar[str] = "fedadam"

    learning_rate: float = 0.003
    """Learning rate of the server's step, above 0."""

    beta1: float = 0.9
    """Decay of the first moment, from 0 to below 1."""

    beta2: float = 0.99
    """Decay of the second moment, from 0 to below 1."""

    adaptivity: float = 1e-3
    """What is added to the root of the second moment; the larger, the less adaptive. Above 0."""

    correct_bias: bool = False
    """Whether the moments are corrected for their start at 0, as in Adam but not in FedAdam."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        adam = Adam(
            learning_rate=self.learning_rate,
            beta1=self.beta1,
            beta2=self.beta2,
            adaptivity=self.adaptivity,
            correct_bias=self.correct_bias,
        )
        return Method(is_shared=AllBut(self.private), merge=ServerStep(adam))
