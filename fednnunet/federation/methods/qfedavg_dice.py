"""q-FFL by Dice loss: sites are weighted by the Dice loss of the received model on their cases.

The objective is q-FFL's (Li et al., ICLR 2020, see `qfedavg`), with two changes: F_k is measured
on the very weights that the site received, as the paper has it, and it is not the loss but

    F_k = 1 - mean over targets of the Dice of the received model

on unchanged patches of the site's training cases, the same ones in every round. So it lies between
0 and 1 and does not depend on augmentation or on what a round of training makes of it. Held-out
cases are not used: a model whose weights depend on them could not be evaluated by them. What the
site sends is this one number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from fednnunet.errors import InputError
from fednnunet.federation.methods.mean import MeanBy
from fednnunet.federation.methods.merge import Reply, Tensors
from fednnunet.federation.methods.method import Method, TrainedSite
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.training.evaluate_patches import count_patches

_NAME = "dice_loss"
_MIN_FACTOR = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class DiceLossExtra:
    """The extra: 1 - Dice of the model that a site received in the round, as one number.

    It is over `patches` of each training case. A target that the site does not annotate, or that is
    neither present nor predicted, does not count. Where no target counts, as at a site without
    labels, the number is 0, so that the site hardly counts.
    """

    patches: int
    words: str = "Dice loss of the received model on the training cases together: one number"

    def __post_init__(self) -> None:
        if self.patches < 1:
            raise InputError(f"patches is {self.patches}", mend="choose 1 or more")

    def like(self, tensors: Tensors, shared: Collection[str], /) -> dict[str, Tensor]:
        """One number."""
        return {_NAME: torch.zeros(1, dtype=torch.float64)}

    def received(self, like: Tensors, sites: Collection[str], /) -> Tensors:
        """Nothing: only the coordinator uses the number."""
        return {}

    def reply(self, site: TrainedSite, /) -> dict[str, Tensor]:
        """The number, from the network as it was when the round began."""
        network = site.state.network
        with _as_at_the_start(network, site.context.start):
            patches = site.each_case(self.patches)
            counts = count_patches(network, patches, site.task, site.execution)
        loss = 0.0 if counts.mean is None else counts.dice_loss
        return {_NAME: torch.tensor([loss], dtype=torch.float64)}


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
    """Weights cases * loss^q, not normalised; q 0 is FedAvg."""

    q: float

    def __post_init__(self) -> None:
        if not 0 <= self.q < float("inf"):
            raise InputError(f"q is {self.q}", mend="choose a finite q of 0 or more")

    def __call__(self, reply: Reply, /) -> float:
        """The site's weight; loss^q counts as 1e-6 at least."""
        return reply.cases * max(float(reply.extras[_NAME][0]) ** self.q, _MIN_FACTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class QFedAvgDice:
    """FedAvg weighted by cases times the received model's Dice loss (q-FFL, Li 2020)."""

    tag: ClassVar[str] = "qfedavg_dice"

    q: float = 1.0
    """Exponent of the Dice loss: 0 is FedAvg, the larger the more the worst site counts."""

    patches: int = 2
    """Patches of each training case on which a site measures the loss, at least 1."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(
            is_shared=AllBut(self.private),
            extras=(DiceLossExtra(patches=self.patches),),
            merge=MeanBy(ByDiceLoss(q=self.q)),
        )
