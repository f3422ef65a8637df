"""A federated method and a training recipe that live outside the package.

After `pip install examples/own_method` at the coordinator and at every site, a federation file may
say

    [training]
    recipe = "gentle"

    [training.method]
    name = "mostly_shared"
    weight = 0.02
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.mean import MeanBy, by_cases
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.training.local_rule import ForwardPass, LocalRule
from fednnunet.training.recipe import RECIPES


@dataclass(frozen=True, slots=True, kw_only=True)
class Confident:
    """A loss term: `weight` times the mean entropy of the network's output."""

    weight: float

    def __call__(self, seen: ForwardPass, /) -> Tensor:
        """The term as a scalar, from the logits (b, k, z, y, x)."""
        log = seen.logits.float().log_softmax(dim=1)
        return -self.weight * (log.exp() * log).sum(dim=1).mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class MostlyShared:
    """FedAvg whose sites keep their normalisation layers and are drawn to certain outputs."""

    tag: ClassVar[str] = "mostly_shared"

    weight: float = 0.01
    """Weight of the mean entropy in the loss, 0 or more."""
    private: Private = ("norm",)
    """Parts of the network that stay at each site."""

    def build(self) -> Method:
        """The method with these settings."""
        if self.weight < 0:
            raise InputError(f"weight is {self.weight}", mend="give 0 or more")
        return Method(
            is_shared=AllBut(self.private),
            local_rule=LocalRule(terms=(Confident(weight=self.weight),)),
            merge=MeanBy(by_cases),
        )


GENTLE = dataclasses.replace(RECIPES["fast"], name="gentle", learning_rate=1e-3)
