"""Weights by how far the shared model falls short at each site, measured before it trains on.

The objective is q-FFL's (Li et al., ICLR 2020, see `weighting`), with two changes: F_k is measured
on the very weights that the site received, as the paper has it, and it is not the loss but

    F_k = 1 - mean over targets of the Dice of the received model

on unchanged patches of the site's training cases, the same ones in every round. So it lies between
0 and 1 and does not depend on augmentation or on what a round of training makes of it. Held-out
cases are not looked at: a model whose weights depend on them could not be judged by them. What the
site sends is this one number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.method import MeanBy, Reply, Tensors, TrainedSite
from fednnunet.training.evaluate_patches import count_patches

_NAME = "shortfall"
_LEAST = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class DiceLossExtra:
    """The aside: 1 - Dice of the model that a site began the round with, as one number.

    `patches` are looked at of each training case. A target that the site does not draw, or that
    is neither there nor predicted, does not count; where no target counts, the number is 1.
    """

    patches: int = 2
    words: str = "how far the received model falls short on the training cases together: one number"

    def __post_init__(self) -> None:
        if self.patches < 1:
            raise InputError(f"patches is {self.patches}", mend="choose 1 or more")

    def like(self, tensors: Tensors, shared: Collection[str], /) -> dict[str, Tensor]:
        """One number."""
        return {_NAME: torch.zeros(1, dtype=torch.float64)}

    def reply(self, site: TrainedSite, /) -> dict[str, Tensor]:
        """The number, from the network as it was when the round began."""
        network = site.state.network
        with _as_at_the_start(network, site.context.start):
            patches = site.each_case(self.patches)
            found = count_patches(network, patches, site.task, site.execution).dice_loss
        return {_NAME: torch.tensor([found], dtype=torch.float64)}


@contextmanager
def _as_at_the_start(network: nn.Module, start: Tensors) -> Iterator[None]:
    after = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(dict(start))
    try:
        yield
    finally:
        network.load_state_dict(after)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByDiceLoss:
    """Weights cases * shortfall^q, not normalised; q 0 is FedAvg."""

    q: float

    def __post_init__(self) -> None:
        if not 0 <= self.q < float("inf"):
            raise InputError(f"q is {self.q}", mend="choose a finite q of 0 or more")

    def __call__(self, replies: Sequence[Reply], /) -> dict[str, float]:
        """A weight a site; a shortfall counts as 0.001 at least."""
        return {r.site: r.cases * max(float(r.extras[_NAME][0]), _LEAST) ** self.q for r in replies}


qfedavg_dice = replace(
    fedavg,
    about="FedAvg weighted by cases times what the received model lacks in Dice (q-FFL, Li 2020)",
    extras=(DiceLossExtra(),),
    merge=MeanBy(ByDiceLoss(q=1.0)),
)
