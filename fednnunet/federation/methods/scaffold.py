"""SCAFFOLD: each step is corrected by the difference between all sites' mean gradient and its own.

Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020.
With c_k the mean gradient of site k and c that of all, a site's step goes along

    g + c - c_k,

so that sites whose data differ drift less within a round. After K iterations the paper's
option II sets, for plain steps of a constant rate,

    c_k+ = c_k - c + (x - y_k) / (K * rate),

which is the mean of the site's own gradients g over the round. That mean is what is computed
here, directly from the gradients, before correction and clipping. For plain steps both are the
same. With AdamW, momentum, weight decay or clipping the formula would give the mean of what the
optimiser *made* of the gradients, a number of another unit; the mean stays a gradient, and the
optimiser then sees corrected gradients. The paper's analysis is of plain steps and does not cover
that.

Other differences: sites count by their training cases, in c as in the mean of the weights, where
the paper counts them alike; the coordinator's step has learning rate 1; c is the mean over the
sites that have replied so far. Only shared parameters are corrected. Both directions carry twice
FedAvg's bytes. The coordinator learns each site's mean gradient of a round, which it could in
essence derive from FedAvg's weights too.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Reply, State, Streamed, Tensors
from fednnunet.federation.methods.method import Method, TrainedSite
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.federation.wire.exact_sum import ExactSum, check_terms
from fednnunet.network.roles import is_trained
from fednnunet.training.local_rule import LocalRule, RoundContext
from fednnunet.training.state import TrainingState

_CONTROL, _CASES = "control/", "control_cases/"
_OWN, _SUM, _COUNT = "control_own/", "control_sum/", "control_count"


@dataclass(frozen=True, slots=True)
class Controlled:
    """The correction g + c - c_k, and the sum of the round's own gradients g.

    At the site, `memory` holds c_k as `control_own/<parameter>`, zero where there is none yet, and
    during a round the sum and the number of gradients. An iteration that float16 has overflowed
    is left out, as the optimiser leaves it out.
    """

    def __call__(self, state: TrainingState, context: RoundContext, /) -> None:
        """Correct the gradients of the shared parameters."""
        found = {
            name: parameter.grad
            for name, parameter in state.parameters.items()
            if name in context.shared and parameter.grad is not None
        }
        if state.scaler.is_enabled() and not all(torch.isfinite(g).all() for g in found.values()):
            return
        memory = state.memory
        memory[_COUNT] = memory.get(_COUNT, torch.zeros((), dtype=torch.int64)) + 1
        for name, gradient in found.items():
            if _SUM + name in memory:
                memory[_SUM + name].add_(gradient)
            else:
                memory[_SUM + name] = gradient.clone()
            common, own = context.extras.get(_CONTROL + name), memory.get(_OWN + name)
            if common is not None:
                gradient.add_(common if own is None else common - own)


@dataclass(frozen=True, slots=True)
class ControlChange:
    """The extra: how a site's c_k changed in the round."""

    words: str = "the change of the site's mean gradient (SCAFFOLD's control variate)"

    def like(self, tensors: Tensors, shared: Collection[str], /) -> dict[str, Tensor]:
        """One tensor a shared parameter."""
        return {_CONTROL + n: tensors[n] for n in shared if is_trained(n, tensors[n])}

    def received(self, like: Tensors, sites: Collection[str], /) -> Tensors:
        """The mean of all sites, in the same tensors."""
        return like

    def reply(self, site: TrainedSite, /) -> dict[str, Tensor]:
        """The changes; c_k is renewed in the site's memory and the round's sums are dropped."""
        memory, changes = site.state.memory, {}
        count = int(memory.pop(_COUNT, torch.ones(())))
        for name, parameter in site.state.parameters.items():
            total = memory.pop(_SUM + name, None)
            if name not in site.context.shared:
                continue
            old = memory.get(_OWN + name, torch.zeros_like(parameter.detach()))
            new = torch.zeros_like(old) if total is None else total / count
            memory[_OWN + name] = new
            changes[_CONTROL + name] = (new - old).cpu()
        return changes


class ControlAggregation:
    """The mean of a round's weights, and c as the mean of all sites' c_k by cases.

    `State.memory` holds the sum of cases * c_k in float64, to which changes are added, and the
    cases of every site that has replied: a site that misses a round keeps its c_k in the mean.
    """

    def __init__(self, state: State) -> None:
        self._state, self._mean = state, mean_by_cases.start(state)
        self._cases: dict[str, Tensor] = {}
        self._sums: dict[str, ExactSum] = {}
        self._kinds: dict[str, torch.dtype] = {}

    def add(self, reply: Reply, /) -> None:
        """Add the reply; raises ReplyError, with nothing added, where it cannot be summed."""
        changes = {name: t for name, t in reply.extras.items() if name.startswith(_CONTROL)}
        check_terms(reply.site, changes, reply.cases)
        self._mean.add(reply)
        self._cases[_CASES + reply.site] = torch.tensor(reply.cases)
        for name, change in changes.items():
            if name not in self._sums:
                self._sums[name], self._kinds[name] = ExactSum(change.shape), change.dtype
            self._sums[name].add(change, reply.cases)

    def finish(self) -> State:
        """The state after the round, with c as `control/<parameter>` among its extras."""
        new = self._mean.finish()
        memory, extras = {**new.memory, **dict(sorted(self._cases.items()))}, dict(new.extras)
        cases = sum(int(t) for name, t in memory.items() if name.startswith(_CASES))
        for name in sorted(self._sums):
            total = self._sums.pop(name).total()
            memory[name] = memory[name] + total if name in memory else total
            extras[name] = (memory[name] / cases).to(self._kinds[name])
        return replace(new, memory=memory, extras=extras)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaffold:
    """Gradients are corrected towards all sites' mean gradient (SCAFFOLD, Karimireddy 2020)."""

    tag: ClassVar[str] = "scaffold"

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(
            is_shared=AllBut(self.private),
            local_rule=LocalRule(corrections=(Controlled(),)),
            extras=(ControlChange(),),
            merge=Streamed(ControlAggregation, keeps_equal_sites=True),
        )
