"""A shared encoder: the whole decoder, heads included, stays local.

Arivazhagan et al., "Federated Learning with Personalization Layers" (FedPer), 2019: base layers are
shared, the layers after them belong to the site. In a U-Net the base is the encoder. Both parts are
trained jointly.
"""

from __future__ import annotations

from fednnunet.federation.methods.method import Method
from fednnunet.network.roles import role


def _in_encoder(name: str) -> bool:
    return role(name) == "encoder"


decoder = Method(
    about="decoder and segmentation heads stay at the site (FedPer, Arivazhagan 2019)",
    is_shared=_in_encoder,
)
