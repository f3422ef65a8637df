"""FedGKD: knowledge distillation keeps each site's outputs near those of the model it received.

Yao et al., "FedGKD: Toward Heterogeneous Federated Learning via Global Knowledge Distillation",
IEEE Transactions on Computers 2024 (first 2021). To the site's loss is added

    gamma / 2 * KL(p_received || p)

per voxel, with p the class probabilities at temperature 1. FedProx penalises the distance of
parameters, this the distance of outputs. The paper's teacher may be the mean of the last few global
models; here it is the last one. Private tensors of the teacher are the site's own as they were at
the round's start. For regions, whose outputs are not exclusive, the divergence
is the mean over outputs of that of two Bernoulli distributions. The teacher predicts in evaluation
mode and costs a forward pass, about a third of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from fednnunet.errors import InputError
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.training.local_rule import ForwardPass, LocalRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """The loss term gamma/2 * KL(received || now), the mean over voxels that are not ignored."""

    gamma: float

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise InputError(f"gamma is {self.gamma}", mend="choose a gamma above 0, e.g. 0.2")

    def __call__(self, seen: ForwardPass, /) -> Tensor:
        """The term as a scalar, zero where the network computes what it did when received."""
        voxels = divergence(
            seen.logits.float(), _as_received(seen).float(), regions=seen.targets.regions
        )
        valid = seen.targets.of_the_task(seen.labels)  # voxels without a label are distilled too
        if valid is None:
            return self.gamma / 2 * voxels.mean()
        return self.gamma / 2 * (voxels * valid).sum() / valid.sum().clamp_min(1)


def divergence(logits: Tensor, teacher: Tensor, *, regions: bool) -> Tensor:
    """KL(teacher || logits) of each voxel (b, z, y, x), from logits (b, k, z, y, x); in nats."""
    if not regions:
        now, then = F.log_softmax(logits, 1), F.log_softmax(teacher, 1)
        return F.kl_div(now, then, reduction="none", log_target=True).sum(1)
    probability = teacher.sigmoid()
    inside = probability * (F.logsigmoid(teacher) - F.logsigmoid(logits))
    outside = (1 - probability) * (F.logsigmoid(-teacher) - F.logsigmoid(-logits))
    return (inside + outside).mean(1)


@torch.no_grad()
def _as_received(seen: ForwardPass) -> Tensor:
    """The finest logits of the network as it was when the round began."""
    was_training = seen.network.training
    seen.network.eval()
    try:
        return cast(Tensor, functional_call(seen.network, dict(seen.context.start), (seen.image,)))
    finally:
        seen.network.train(was_training)


@dataclass(frozen=True, slots=True, kw_only=True)
class FedGKD:
    """FedAvg, and outputs are held near the received model's (FedGKD, Yao 2024)."""

    tag: ClassVar[str] = "fedgkd"

    gamma: float = 0.2
    """Strength of the distillation term gamma/2 * KL(received || now), above 0."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(
            is_shared=AllBut(self.private),
            local_rule=LocalRule(terms=(Distillation(gamma=self.gamma),)),
        )
