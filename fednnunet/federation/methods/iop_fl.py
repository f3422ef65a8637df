"""IOP-FL's inside personalisation: a site's own model gathers the shared gradients and its own.

Jiang, Yang, Cheng and Dou, "IOP-FL: Inside-Outside Personalization for Federated Medical Image
Segmentation", IEEE Transactions on Medical Imaging 2023. Training is FedAvg's. Beside it each site
keeps a model p of its own and, at the end of a round, moves it to where local training has led:

    p = kept * p + (1 - kept) * w_k

w_k is what the site's training makes of the shared w in that round, so p moves along the change of
w that all sites have caused (the global gradients) and along the site's own last steps (the local
gradients). It is trained by no gradients of its own: a round costs what FedAvg's does, and a site
holds its weights twice. `kept` is 0.1 in the authors' published settings. In a site's first round
p is w_k.

The p stay at the sites. The outside half, in which hospitals that did not train use a mixture of
them chosen for each case, is `training.routed`: see `federation.outside` for what leaves a site
then, and `inference.routing` for the choice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.method import Tensors, TrainedSite

_OWN = "iop_fl/own/"


@dataclass(frozen=True, slots=True, kw_only=True)
class EMA:
    """A site's own model: a mean of the models after each of its rounds, the latest most."""

    kept: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.kept < 1:
            raise InputError(f"kept is {self.kept}", mend="choose 0 to below 1")

    def update(self, site: TrainedSite, /) -> None:
        """Move p; counters are the latest."""
        memory = site.state.memory
        for name, tensor in site.state.network.state_dict().items():
            latest, before = tensor.detach().clone(), memory.get(_OWN + name)
            averaged = before is not None and latest.is_floating_point()
            memory[_OWN + name] = (
                torch.lerp(latest, before, self.kept) if averaged else latest  # type: ignore[arg-type]
            )

    def model(self, tensors: Tensors, memory: Tensors, /) -> dict[str, Tensor]:
        """p, or the network of a site that has not ended a round."""
        return {name: memory.get(_OWN + name, tensor) for name, tensor in tensors.items()}


iop_fl = replace(
    fedavg,
    about="FedAvg; each site's own model follows its training from round to round (IOP-FL 2023)",
    personal_model=EMA(),
)
