"""FedProx: a proximal term keeps each site's weights near those it received.

Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020. The site minimises

    F_k(w) + mu/2 * ||w - w_received||^2

over the shared parameters; the merge is FedAvg's. As the term is part of the loss, the sites'
gradient clipping includes it. The published values of mu are 0.001 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.training.local_rule import ForwardPass, LocalRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Proximal:
    """The loss term mu/2 * ||w - w_received||^2; its gradient is mu * (w - w_received).

    The sum is over the floating-point parameters that were received. Buffers (running statistics)
    are not trained by the loss, and private parameters are not received: neither is in the term.
    """

    mu: float

    def __post_init__(self) -> None:
        if not 0 <= self.mu < float("inf"):
            raise InputError(f"mu is {self.mu}", mend="choose a finite mu of 0 or more, e.g. 0.01")

    def __call__(self, seen: ForwardPass, /) -> Tensor:
        """The term as a scalar, zero when no parameter of the network was received."""
        received = seen.context.received
        squares = [
            (parameter - received[name].to(parameter)).square().sum()
            for name, parameter in seen.network.named_parameters()
            if name in received and parameter.is_floating_point()
        ]
        return self.mu / 2 * torch.stack(squares).sum() if squares else seen.image.new_zeros(())


@dataclass(frozen=True, slots=True, kw_only=True)
class FedProx:
    """FedAvg, and each site's weights are held near those it received (FedProx, Li 2020)."""

    tag: ClassVar[str] = "fedprox"

    mu: float = 0.01
    """Strength of the proximal term mu/2 * ||w - w_received||^2, 0 or more."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(
            is_shared=AllBut(self.private),
            local_rule=LocalRule(terms=(Proximal(mu=self.mu),)),
        )
