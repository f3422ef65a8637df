"""q-FFL by reweighting: sites with a high loss count more.

Li et al., "Fair Resource Allocation in Federated Learning" (q-FFL), ICLR 2020, minimises

    sum_k p_k / (q + 1) * F_k^(q + 1),  whose gradient is  sum_k p_k * F_k^q * grad F_k.

Here site k counts in the mean by p_k * F_k^q, where p_k are its training cases and F_k its loss,
and the weights are normalised to sum 1. Two things differ from the paper's q-FedAvg and change the
result: the step is not scaled by the paper's estimate of the Lipschitz constant (a mean cannot
overshoot its replies), and F_k is the mean loss over the site's round, which it reports anyway, not
the loss of the received weights. The paper's F_k must not be negative; see `fair_losses`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fednnunet.errors import InputError
from fednnunet.federation.methods.fair_losses import shifted_loss
from fednnunet.federation.methods.mean import MeanBy
from fednnunet.federation.methods.merge import Reply
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private

_MIN_FACTOR = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLoss:
    """Weights cases * loss^q, not normalised; q 0 is FedAvg. loss^q counts as 1e-6 at least."""

    q: float

    def __post_init__(self) -> None:
        if not 0 <= self.q < float("inf"):
            raise InputError(f"q is {self.q}", mend="choose a finite q of 0 or more")

    def __call__(self, reply: Reply, /) -> float:
        """The site's weight; raises ReplyError for a loss that is not finite."""
        return reply.cases * max(shifted_loss(reply) ** self.q, _MIN_FACTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class QFedAvg:
    """FedAvg weighted by cases times loss, for even results over sites (q-FFL, Li 2020)."""

    tag: ClassVar[str] = "qfedavg"

    q: float = 1.0
    """Exponent of the loss: 0 is FedAvg, the larger the more the worst site counts."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(is_shared=AllBut(self.private), merge=MeanBy(ByLoss(q=self.q)))
