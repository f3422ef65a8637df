"""FedAvg: every tensor is shared.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
AISTATS 2017.
"""

from __future__ import annotations

from fednnunet.federation.methods.method import Method


def _any(name: str) -> bool:
    return True


fedavg = Method(
    about="every tensor is averaged, weighted by training cases (McMahan 2017)",
    is_shared=_any,
)
