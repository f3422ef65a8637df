"""APFL: each site learns a personal model, a mixture of shared and private weights.

Deng, Kamani and Mahdavi, "Adaptive Personalized Federated Learning", 2020. A site holds the shared
w, private weights v and a mixing weight alpha from 0 to 1; its personal model is
u = alpha * v + (1 - alpha) * w. On each batch, with g = grad f(u) and learning rate eta, all three
are updated:

    w      -= eta * grad f(w)
    v      -= eta * alpha * g              the gradient of f(u) by v
    alpha  -= eta * <v - w, g>             the gradient of f(u) by alpha, clamped to 0 to 1

Only w leaves the site, and FedAvg's merge averages it; v, alpha and the moments of v stay in the
site's memory. The global model is the mean of the w, the personal one is u, with w as it was merged
last. v is initialised with the first w that the site receives.

**Cost.** An iteration is one batch, on which two gradients are taken, at w and at u: at the same
number of iterations APFL computes twice as much as FedAvg, and a comparison by iterations should
say so. It sends FedAvg's bytes, and a site holds its weights and moments twice.

What differs from the paper: w and v are trained by the recipe's optimiser and clipping (each with
moments of its own; Adam cancels most of the factor alpha in v's steps), not by plain steps. alpha
is trained by plain steps at the recipe's learning rate, in every iteration: with the recipe "fast"
it changes slowly (from 0.5 to 0.49 in 120 iterations on phantoms), so in a short training it stays
near its initial value. Running statistics of batch normalisation are those of w.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.merge import Tensors
from fednnunet.federation.methods.method import Method, TrainedSite
from fednnunet.federation.methods.private_weights import PrivateWeights
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import Gradient, LocalRule, Measured, RoundContext
from fednnunet.training.perturbation import gradients, perturbed
from fednnunet.training.state import TrainingState

_ALPHA = "apfl/alpha"
_PRIVATE = PrivateWeights(prefix="apfl/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """The gradient rule: v and alpha follow the gradient at the mixture, w the gradient at w.

    `alpha` is the initial mixing weight. At 0 it would stay 0, since v would never be trained.
    """

    alpha: float

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise InputError(f"alpha is {self.alpha}", mend="choose above 0, at most 1")

    def __call__(
        self, state: TrainingState, batch: Batch, gradient: Gradient, context: RoundContext, /
    ) -> Measured:
        """Loss and counts are those of w; nothing is kept where `gradient` raises."""
        parameters = state.parameters
        own = _PRIVATE.of(state)
        alpha = state.memory.get(_ALPHA, torch.tensor(self.alpha)).to(next(iter(own.values())))
        offset = {name: own[name] - parameter.detach() for name, parameter in parameters.items()}
        with perturbed(state.network, {name: alpha * tensor for name, tensor in offset.items()}):
            gradient(batch)
            slope = gradients(state)
        measured = gradient(batch)
        if state.scaler.is_enabled() and not any(bool(g.any()) for g in slope.values()):
            return measured  # float16 has overflowed
        along = torch.stack([(offset[name] * g).sum() for name, g in slope.items()]).sum()
        learning_rate = state.optimiser.param_groups[0]["lr"]
        _PRIVATE.step(state, own, {name: alpha * g for name, g in slope.items()})
        state.memory[_ALPHA] = (alpha - learning_rate * along).clamp(0, 1)
        return measured


@dataclass(frozen=True, slots=True)
class Mixed:
    """The personal model: the mixture, or the network of a site that has not trained yet."""

    def update(self, site: TrainedSite, /) -> None:
        """Nothing: v and alpha are trained in every iteration."""

    def model(self, tensors: Tensors, memory: Tensors, /) -> dict[str, Tensor]:
        """alpha * v + (1 - alpha) * w for every parameter; other tensors are w's."""
        if _ALPHA not in memory:
            return dict(tensors)
        return {
            name: torch.lerp(tensor, memory[_PRIVATE.name(name)], memory[_ALPHA])
            if _PRIVATE.name(name) in memory
            else tensor
            for name, tensor in tensors.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class APFL:
    """Each site learns private weights and their mixture with shared ones (APFL, Deng 2020)."""

    tag: ClassVar[str] = "apfl"

    alpha: float = 0.5
    """Initial weight of the private weights in the personal model, above 0 and up to 1."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(
            is_shared=AllBut(self.private),
            local_rule=LocalRule(gradient_rules=(Mixing(alpha=self.alpha),)),
            personal_model=Mixed(),
        )
