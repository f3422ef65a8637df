"""IOP-FL's inside personalisation: a site's personal model averages its models over rounds.

Jiang, Yang, Cheng and Dou, "IOP-FL: Inside-Outside Personalization for Federated Medical Image
Segmentation", IEEE Transactions on Medical Imaging 2023. Training is FedAvg's. Each site also keeps
a personal model p, an exponential moving average of its models after local training:

    p = decay * p + (1 - decay) * w_k

w_k is what the site's training makes of the shared w in that round, so p follows the update of w by
all sites (the global gradients) and the site's own last steps (the local gradients). It has no
gradients of its own: a round costs what FedAvg's does, and a site holds its weights twice. `decay`
is 0.1 in the authors' published settings. In a site's first round p is w_k.

The p stay at the sites. The outside half, in which hospitals that did not train use a mixture of
them chosen for each case, is `training.routed`: see `workflows.experts` for what leaves a site
then, and `inference.routing` for the choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.merge import Tensors
from fednnunet.federation.methods.method import Method, TrainedSite
from fednnunet.federation.methods.settings import AllBut, Private

_OWN = "iop_fl/own/"


@dataclass(frozen=True, slots=True, kw_only=True)
class EMA:
    """A personal model: the exponential moving average of the models after each of its rounds."""

    decay: float

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise InputError(f"decay is {self.decay}", mend="choose 0 to below 1")

    def update(self, site: TrainedSite, /) -> None:
        """Update p; counters are the latest."""
        memory = site.state.memory
        for name, tensor in site.state.network.state_dict().items():
            latest, before = tensor.detach().clone(), memory.get(_OWN + name)
            averaged = before is not None and latest.is_floating_point()
            memory[_OWN + name] = (
                torch.lerp(latest, before, self.decay) if averaged else latest  # type: ignore[arg-type]
            )

    def model(self, tensors: Tensors, memory: Tensors, /) -> dict[str, Tensor]:
        """p, or the network of a site that has not ended a round."""
        return {name: memory.get(_OWN + name, tensor) for name, tensor in tensors.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class IOPFL:
    """FedAvg; each site's personal model is an average of its models over rounds (IOP-FL, 2023)."""

    tag: ClassVar[str] = "iop_fl"

    decay: float = 0.1
    """Weight of the earlier average in the personal model, from 0 to below 1."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(is_shared=AllBut(self.private), personal_model=EMA(decay=self.decay))
