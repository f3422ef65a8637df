"""Alternating heads, FedRep's own order: the site's heads on a resting body, then the body.

Collins et al., "Exploiting Shared Representations for Personalized Federated Learning" (FedRep),
ICML 2021. In each round a site takes the received body and trains its private heads on it with
the body frozen, then freezes them and trains the body, which alone is sent. The paper gives the
heads several epochs and the body one or a few; here both have half of the round's iterations,
so that a round costs what any other method's does. `head` trains both jointly.
"""

from __future__ import annotations

from dataclasses import replace

from fednnunet.federation.methods.head import head
from fednnunet.network.roles import role
from fednnunet.training.local_rule import LocalRule, TrainingPhase


def is_head(name: str) -> bool:
    """Whether a tensor belongs to a segmentation head."""
    return role(name) == "head"


def is_body(name: str) -> bool:
    """Whether a tensor belongs to the network before its heads."""
    return role(name) != "head"


heads_first = LocalRule(
    phases=(
        TrainingPhase(is_trained=is_head, fraction=0.5),
        TrainingPhase(is_trained=is_body, fraction=0.5),
    )
)

head_alternating = replace(
    head,
    about="heads stay at the site and are trained before the body in a round (FedRep 2021)",
    local_rule=heads_first,
)
