"""PropFair by reweighting: proportional fairness among sites.

Zhang et al., "Proportional Fairness in Federated Learning" (PropFair), TMLR 2023, maximises

    sum_k p_k * log(M - F_k),  whose gradient is  sum_k p_k / (M - F_k) * -grad F_k,

with M above any loss: an update that costs one site a share of its utility M - F_k must give a
larger share to others. Here site k counts in the mean by p_k / (M - F_k), where p_k are its
training cases and F_k the mean loss of its round; see `fair_losses`.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportional:
    """Weights cases / max(max_loss - loss, min_utility), not normalised."""

    max_loss: float
    min_utility: float

    def __post_init__(self) -> None:
        if not 0 < self.min_utility < self.max_loss:
            raise InputError(
                f"min_utility is {self.min_utility} and max_loss {self.max_loss}",
                mend="choose 0 < min_utility < max_loss",
            )

    def __call__(self, reply: Reply, /) -> float:
        """The site's weight; raises ReplyError for a loss that is not finite."""
        return reply.cases / max(self.max_loss - shifted_loss(reply), self.min_utility)


@dataclass(frozen=True, slots=True, kw_only=True)
class PropFair:
    """FedAvg weighted by cases over what is left to the highest loss (PropFair, Zhang 2023)."""

    tag: ClassVar[str] = "propfair"

    max_loss: float = 5.0
    """The paper's M, above what cross-entropy + (1 - Dice) reaches (it is near 2 at first)."""

    min_utility: float = 0.2
    """What max_loss - loss counts as at least (the paper's epsilon), above 0 and below max_loss."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        weights = Proportional(max_loss=self.max_loss, min_utility=self.min_utility)
        return Method(is_shared=AllBut(self.private), merge=MeanBy(weights))
