"""The one table of methods."""

from __future__ import annotations

from fednnunet.federation.methods.decoder import decoder
from fednnunet.federation.methods.fedadam import fedadam
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.fedavgm import fedavgm
from fednnunet.federation.methods.fedbn import fedbn
from fednnunet.federation.methods.fedprox import fedprox, fedprox_bn_head
from fednnunet.federation.methods.head import fedbn_head, head
from fednnunet.federation.methods.local import local
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.weighting import fedavg_uniform, qfedavg

METHODS: dict[str, Method] = {
    "fedavg": fedavg,
    "fedavg_uniform": fedavg_uniform,
    "qfedavg": qfedavg,
from fednnunet.federation.methods.per_fedavg import per_fedavg
from fednnunet.federation.methods.pooled import pooled
from fednnunet.federation.methods.scaffold import scaffold, scaffold_bn_head
    "fedprox": fedprox,
    "fedavgm": fedavgm,
    "fedadam": fedadam,
    "fedbn": fedbn,
    "head": head,
    "fedbn_head": fedbn_head,
    "fedprox_bn_head": fedprox_bn_head,
    "decoder": decoder,
    "local": local,
}
    "pooled": pooled,
