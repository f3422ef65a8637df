"""FedNova: normalised averaging, where sites take different numbers of local iterations.

Wang et al., "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization",
NeurIPS 2020. With x the shared tensors, y_k the reply of site k after t_k iterations and p_k its
share of the training cases, updates are averaged per iteration:

    x' = x + t_eff * sum_k p_k * (y_k - x) / t_k,    t_eff = sum_k p_k * t_k.

With equal numbers of iterations this is FedAvg, bit for bit. The paper's t_k for momentum and
proximal terms is left out. Running statistics are averaged by p_k / t_k.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from fednnunet.federation.methods.mean import MeanBy
from fednnunet.federation.methods.merge import Reply, State, Streamed
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.network.roles import is_trained


class NormalisedAggregation:
    """The mean by cases / iterations, and the exact sums by which its update is scaled."""

    def __init__(self, state: State) -> None:
        self._old, self._mean = state, MeanBy(lambda r: r.cases / r.iterations).start(state)
        self._cases, self._steps, self._rates = 0, 0, Fraction(0)

    def add(self, reply: Reply, /) -> None:
        """Add the reply; raises ReplyError where it cannot be summed."""
        self._mean.add(reply)
        self._cases += reply.cases
        self._steps += reply.cases * reply.iterations
        self._rates += Fraction(reply.cases, reply.iterations)

    def finish(self) -> State:
        """The state after the round."""
        mean, factor = self._mean.finish(), float(self._steps * self._rates / self._cases**2)
        shared = dict(mean.shared)
        for name in [n for n, t in shared.items() if factor != 1 and is_trained(n, t)]:
            old = self._old.shared[name].double()
            shared[name] = (old + factor * (shared[name].double() - old)).to(shared[name].dtype)
        return replace(mean, shared=shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class FedNova:
    """FedAvg of updates normalised by the sites' numbers of iterations (FedNova, Wang 2020)."""

    tag: ClassVar[str] = "fednova"
    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings."""
        return Method(is_shared=AllBut(self.private), merge=Streamed(NormalisedAggregation))
