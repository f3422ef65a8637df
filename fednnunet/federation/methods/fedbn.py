"""FedBN: normalisation layers stay local.

Li et al., "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization",
ICLR 2021. For instance normalisation these are the affine parameters, for batch normalisation the
running statistics too.
"""

from __future__ import annotations

from fednnunet.federation.methods.method import Method
from fednnunet.network.roles import is_norm


def _no_norm(name: str) -> bool:
    return not is_norm(name)


fedbn = Method(
    about="normalisation layers stay at the site (Li 2021)",
    is_shared=_no_norm,
)
