"""Decoupled heads: the shared body learns the representation, each site its own last layer.

Collins et al., "Exploiting Shared Representations for Personalized Federated Learning" (FedRep),
ICML 2021; Yang et al., "FLOP", KDD 2021. Body and head are trained jointly here.
"""

from __future__ import annotations

from fednnunet.federation.methods.method import Method
from fednnunet.network.roles import is_norm, role


def _no_head(name: str) -> bool:
    return role(name) != "head"


def _no_norm_no_head(name: str) -> bool:
    return _no_head(name) and not is_norm(name)


head = Method(
    about="segmentation heads stay at the site (FedRep 2021, FLOP 2021)",
    is_shared=_no_head,
)

fedbn_head = Method(
    about="normalisation layers and segmentation heads stay at the site",
    is_shared=_no_norm_no_head,
)
