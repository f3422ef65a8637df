"""FedProx: a spring in each site's loss pulls it back to what it received.

Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020. The site minimises

    F_k(w) + mu/2 * ||w - w_received||^2

over the shared parameters; the merge is FedAvg's. As the term is part of the loss, the sites'
clipping of gradients sees it too. The published values of mu are 0.001 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.head import fedbn_head
from fednnunet.training.local_rule import ForwardPass, LocalRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Proximal:
    """The local term mu/2 * ||w - w_received||^2; its gradient is mu * (w - w_received).

    The sum runs over the network's floating-point parameters that were received. Buffers (running
    statistics) are not trained by the loss, and private parameters are not received: neither is
    held.
    """

    mu: float

    def __call__(self, seen: ForwardPass, /) -> Tensor:
        """The term as a scalar, zero when no parameter of the network was received."""
        received = seen.context.received
        squares = [
            (parameter - received[name].to(parameter)).square().sum()
            for name, parameter in seen.network.named_parameters()
            if name in received and parameter.is_floating_point()
        ]
        return self.mu / 2 * torch.stack(squares).sum() if squares else seen.image.new_zeros(())


proximal_rule = LocalRule(terms=(Proximal(mu=0.01),))

fedprox = replace(
    fedavg,
    about="FedAvg, and each site is held near what it received, mu 0.01 (FedProx, Li 2020)",
    local_rule=proximal_rule,
)

fedprox_bn_head = replace(
    fedbn_head,
    about="fedbn_head, and the shared body is held near what was received (FedProx, Li 2020)",
    local_rule=proximal_rule,
)
