"""The one table of methods."""

from __future__ import annotations

from fednnunet.federation.methods.apfl import apfl
from fednnunet.federation.methods.decoder import decoder
from fednnunet.federation.methods.fedadam import fedadam
from fednnunet.federation.methods.fedadp import fedadp
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.fedavgm import fedavgm
from fednnunet.federation.methods.fedbn import fedbn
from fednnunet.federation.methods.feddg import feddg
from fednnunet.federation.methods.fedease import (
    fedease,
    fedease_all,
    fedease_firm,
    fedease_open,
)
from fednnunet.federation.methods.fedgkd import fedgkd, fedgkd_bn_head
from fednnunet.federation.methods.fedproto import fedproto
from fednnunet.federation.methods.fedprox import fedprox, fedprox_bn_head
from fednnunet.federation.methods.fedsam import fedsam, fedsam_bn_head
from fednnunet.federation.methods.head import fedbn_head, head
from fednnunet.federation.methods.head_alternating import head_alternating
from fednnunet.federation.methods.iop_fl import iop_fl
from fednnunet.federation.methods.local import local
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.per_fedavg import per_fedavg
from fednnunet.federation.methods.pooled import pooled
from fednnunet.federation.methods.qfedavg_dice import qfedavg_dice
from fednnunet.federation.methods.scaffold import scaffold, scaffold_bn_head
from fednnunet.federation.methods.similarity import similarity
from fednnunet.federation.methods.weighting import fedavg_uniform, propfair, qfedavg

METHODS: dict[str, Method] = {
    "fedavg": fedavg,
    "fedavg_uniform": fedavg_uniform,
    "qfedavg": qfedavg,
    "qfedavg_dice": qfedavg_dice,
    "propfair": propfair,
    "fedadp": fedadp,
    "fedprox": fedprox,
    "fedgkd": fedgkd,
    "fedproto": fedproto,
    "feddg": feddg,
    "scaffold": scaffold,
    "fedsam": fedsam,
    "per_fedavg": per_fedavg,
    "fedavgm": fedavgm,
    "fedadam": fedadam,
    "fedbn": fedbn,
    "head": head,
    "fedbn_head": fedbn_head,
    "head_alternating": head_alternating,
    "fedprox_bn_head": fedprox_bn_head,
    "fedgkd_bn_head": fedgkd_bn_head,
    "scaffold_bn_head": scaffold_bn_head,
    "fedsam_bn_head": fedsam_bn_head,
    "decoder": decoder,
    "apfl": apfl,
    "fedease": fedease,
    "fedease_all": fedease_all,
    "fedease_firm": fedease_firm,
    "fedease_open": fedease_open,
    "iop_fl": iop_fl,
    "similarity": similarity,
    "local": local,
    "pooled": pooled,
}
