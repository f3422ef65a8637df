"""FedAvg with other weights than training cases: every site alike, or the worse-off site more.

Li et al., "Fair Resource Allocation in Federated Learning" (q-FFL), ICLR 2020, minimises

    sum_k p_k / (q + 1) * F_k^(q + 1),  whose gradient is  sum_k p_k * F_k^q * grad F_k.

`qfedavg` is that objective by reweighting: site k counts by p_k * F_k^q, where p_k are its training
cases and F_k its loss, and the weights are normalised to sum 1. Two things differ from the paper's
q-FedAvg, and are stated here because they change the result: the step is not scaled by the paper's
estimate of the Lipschitz constant (a mean cannot overshoot its replies), and F_k is the mean loss
over the site's round, which it reports anyway, not the loss of the received weights.

`propfair` is Zhang et al., "Proportional Fairness in Federated Learning" (PropFair), TMLR 2023,
which maximises

    sum_k p_k * log(M - F_k),  whose gradient pulls along  sum_k p_k / (M - F_k) * -grad F_k,

with M above any loss: a change that takes a share from one site must give a larger share to others.
Again it is done by reweighting, with the round's mean loss as F_k.
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
        return {reply.site: reply.cases * self.loss(reply) ** self.q for reply in replies}

    def loss(self, reply: Reply) -> float:
        """The site's loss above the lowest; raises ReplyError where it is not finite."""
        if not math.isfinite(reply.loss):
            raise ReplyError(
                f"the loss is {reply.loss}, and this method weights sites by it",
                where=f"reply of site {reply.site}",
                mend="the site's training diverged: lower its learning rate or leave it out",
            )
        return max(reply.loss - self.lowest, _LEAST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportional:
    """Weights cases / (most - (loss - lowest)), not normalised.

    `most` is the paper's M, above what a loss reaches here: cross-entropy + (1 - Dice) begins near
    2 and falls. `least` bounds the denominator from below, as the paper's epsilon does. `lowest` is
    as in `ByLoss`.
    """

    most: float = 5.0
    least: float = 0.2
    lowest: float = -1.0

    def __post_init__(self) -> None:
        if not 0 < self.least < self.most:
            raise InputError(
                f"least is {self.least} and most {self.most}", mend="choose 0 < least < most"
            )

    def __call__(self, replies: Sequence[Reply], /) -> dict[str, float]:
        """A weight a site; raises ReplyError for a loss that is not finite."""
        shifted = ByLoss(q=1.0, lowest=self.lowest)
        return {
            reply.site: reply.cases / max(self.most - shifted.loss(reply), self.least)
            for reply in replies
        }


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

propfair = replace(
    fedavg,
    about="FedAvg weighted by cases over what is left to the worst loss (PropFair, Zhang 2023)",
    merge=MeanBy(Proportional()),
)
