"""Alternating heads, FedRep's own order: the site's heads on a frozen body, then the body.

Collins et al., "Exploiting Shared Representations for Personalized Federated Learning" (FedRep),
ICML 2021. In each round a site takes the received body and trains its private heads on it with
the body frozen, then freezes them and trains the body, which alone is sent. The paper gives the
heads several epochs and the body one or a few; here both have half of the round's iterations by
default, so that a round costs what any other method's does. FedAvg with private heads (`head`)
trains both jointly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fednnunet.errors import InputError
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.network.roles import role
from fednnunet.training.local_rule import LocalRule, TrainingPhase


def is_head(name: str) -> bool:
    """Whether a tensor belongs to a segmentation head."""
    return role(name) == "head"


def is_body(name: str) -> bool:
    """Whether a tensor belongs to the network before its heads."""
    return role(name) != "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadAlternating:
    """Private heads are trained before the shared body in each round (FedRep, Collins 2021)."""

    tag: ClassVar[str] = "head_alternating"

    head_share: float = 0.5
    """Share of a round's iterations that train the heads, between 0 and 1."""

    private: Private = ("head",)
    """Parts of the network that stay at each site: "head", and any of "norm", "decoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        if "head" not in self.private:
            raise InputError(
                f"private is {list(self.private)}, and this method's heads stay at the site",
                mend='name "head" in private',
            )
        if not 0 < self.head_share < 1:
            raise InputError(
                f"head_share is {self.head_share}", mend="choose a share between 0 and 1, e.g. 0.5"
            )
        phases = (
            TrainingPhase(is_trained=is_head, fraction=self.head_share),
            TrainingPhase(is_trained=is_body, fraction=1 - self.head_share),
        )
        return Method(is_shared=AllBut(self.private), local_rule=LocalRule(phases=phases))
