"""The one table of methods."""

from __future__ import annotations

from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.fedbn import fedbn
from fednnunet.federation.methods.head import fedbn_head, head
from fednnunet.federation.methods.local import local
from fednnunet.federation.methods.method import Method

METHODS: dict[str, Method] = {
    "fedavg": fedavg,
    "fedbn": fedbn,
    "head": head,
    "fedbn_head": fedbn_head,
    "local": local,
}
