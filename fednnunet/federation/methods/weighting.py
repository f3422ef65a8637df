"""FedAvg with other weights than training cases: every site alike, or the worse-off site more.

Li et al., "Fair Resource Allocation in Federated Learning" (q-FFL), ICLR 2020, minimises

    sum_k p_k / (q + 1) * F_k^(q + 1),  whose gradient is  sum_k p_k * F_k^q * grad F_k.

`qfedavg` is that objective by reweighting: site k counts by p_k * F_k^q, where p_k are its training
cases and F_k its loss, and the weights are normalised to sum 1. Two things differ from the paper's
q-FedAvg, and are stated here because they change the result: the step is not scaled by the paper's
estimate of the Lipschitz constant (a mean cannot overshoot its replies), and F_k is the mean loss
over the site's round, which it reports anyway, not the loss of the received weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fednnunet.errors import InputError, ReplyError
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.method import MeanBy, Reply

_LEAST = 1e-10


def uniform(replies: Sequence[Reply]) -> dict[str, float]:
    """Every site counts the same, whatever its number of cases."""
    return {reply.site: 1.0 for reply in replies}


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLoss:
    """Weights cases * (loss - lowest)^q, not normalised.

    q 0 is FedAvg; the larger q, the more the worst site counts. The paper's F_k must not be
    negative, and this package's loss is cross-entropy minus Dice, which is above -1: `lowest`
    moves it to cross-entropy + (1 - Dice). A loss at or below `lowest` counts as 1e-10.
    """

    q: float
    lowest: float = -1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.q) and self.q >= 0):
            raise InputError(f"q is {self.q}", mend="choose a finite q of 0 or more")

    def __call__(self, replies: Sequence[Reply], /) -> dict[str, float]:
        """A weight a site; raises ReplyError for a loss that is not finite."""
        return {reply.site: reply.cases * self._loss(reply) ** self.q for reply in replies}

    def _loss(self, reply: Reply) -> float:
        if not math.isfinite(reply.loss):
            raise ReplyError(
                f"the loss is {reply.loss}, and this method weights sites by it",
                where=f"reply of site {reply.site}",
                mend="the site's training diverged: lower its learning rate or leave it out",
            )
        return max(reply.loss - self.lowest, _LEAST)


fedavg_uniform = replace(
    fedavg,
    about="every tensor is averaged, every site counts the same",
    merge=MeanBy(uniform),
)

qfedavg = replace(
    fedavg,
    about="FedAvg weighted by cases times loss, for even results over sites (q-FFL, Li 2020)",
    merge=MeanBy(ByLoss(q=1.0)),
)
