"""APFL: each site learns a model of its own beside the shared one, and how much to use of it.

Deng, Kamani and Mahdavi, "Adaptive Personalized Federated Learning", 2020. A site holds the shared
w, a private v and a mixing alpha from 0 to 1; its own model is u = alpha * v + (1 - alpha) * w. On
each batch, with g = grad f(u) and rate eta, all three move at once:

    w      -= eta * grad f(w)
    v      -= eta * alpha * g              the gradient of f(u) by v
    alpha  -= eta * <v - w, g>             the gradient of f(u) by alpha, kept from 0 to 1

Only w leaves the site, and FedAvg's merge averages it; v, alpha and the moments of v stay in the
site's memory. The global model is the mean of the w, the personal one is u, with w as it was merged
last. v begins as the first w that the site receives.

**Cost.** An iteration is one batch, on which two gradients are taken, at w and at u: at the same
number of iterations APFL computes twice as much as FedAvg, and a comparison by iterations should
say so. It carries FedAvg's bytes, and a site holds its weights and moments twice.

What differs from the paper: w and v are trained by the recipe's optimiser and clipping (each with
moments of its own; Adam takes most of the factor alpha out of v's steps again), not by plain steps.
alpha is trained by plain steps at the recipe's rate, in every iteration: with the recipe "fast" it
moves slowly (from 0.5 to 0.49 in 120 iterations on phantoms), so a short training all but keeps its
start. Running statistics of batch normalisation are those of w.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.method import Tensors, TrainedSite
from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import Gradient, LocalRule, Measured, RoundContext
from fednnunet.training.perturbation import gradients, perturbed
from fednnunet.training.recipe import recipe_named
from fednnunet.training.state import TrainingState, make_optimiser
from fednnunet.training.step import set_learning_rate

_ALPHA, _OWN, _MOMENTS = "apfl/alpha", "apfl/own/", "apfl/moments/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """The detour: v and alpha follow the gradient at the mixture, w its own.

    `alpha` is where the mixing begins. At 0 it would stay: v is then never trained.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise InputError(f"alpha is {self.alpha}", mend="choose above 0, at most 1")

    def __call__(
        self, state: TrainingState, batch: Batch, gradient: Gradient, context: RoundContext, /
    ) -> Measured:
        """Loss and counts are those of w; nothing is kept where `gradient` raises."""
        parameters = state.parameters
        own = {n: _own_of(state.memory, n, parameter) for n, parameter in parameters.items()}
        alpha = state.memory.get(_ALPHA, torch.tensor(self.alpha)).to(next(iter(own.values())))
        apart = {name: own[name] - parameter.detach() for name, parameter in parameters.items()}
        with perturbed(state.network, {name: alpha * tensor for name, tensor in apart.items()}):
            gradient(batch)
            slope = gradients(state)
        measured = gradient(batch)
        if state.scaler.is_enabled() and not any(bool(g.any()) for g in slope.values()):
            return measured  # float16 has overflowed
        along = torch.stack([(apart[name] * g).sum() for name, g in slope.items()]).sum()
        learning_rate = state.optimiser.param_groups[0]["lr"]
        _train_own(state, own, {name: alpha * g for name, g in slope.items()}, learning_rate)
        state.memory |= {_OWN + name: tensor for name, tensor in own.items()}
        state.memory[_ALPHA] = (alpha - learning_rate * along).clamp(0, 1)
        return measured


@dataclass(frozen=True, slots=True)
class Mixed:
    """A site's own model: the mixture, which a site that never trained has not."""

    def update(self, site: TrainedSite, /) -> None:
        """Nothing: v and alpha are trained in every iteration."""

    def model(self, tensors: Tensors, memory: Tensors, /) -> dict[str, Tensor]:
        """alpha * v + (1 - alpha) * w for every parameter; other tensors are w's."""
        if _ALPHA not in memory:
            return dict(tensors)
        return {
            name: torch.lerp(tensor, memory[_OWN + name], memory[_ALPHA])
            if _OWN + name in memory
            else tensor
            for name, tensor in tensors.items()
        }


def _own_of(memory: Tensors, name: str, parameter: nn.Parameter) -> Tensor:
    """A new copy of v, laid out plainly, as the optimisers' fused kernels ask of all they join."""
    tensor = memory.get(_OWN + name, parameter.detach())
    return tensor.clone(memory_format=torch.contiguous_format)


def _train_own(state: TrainingState, own: Tensors, slope: Tensors, learning_rate: float) -> None:
    """One step of the recipe's optimiser on v in place, with its moments in the site's memory."""
    recipe = recipe_named(state.recipe)
    held = nn.ParameterList([nn.Parameter(tensor) for tensor in own.values()])
    fused = bool(state.optimiser.param_groups[0].get("fused"))
    optimiser = make_optimiser(held, recipe, fused=fused)
    set_learning_rate(optimiser, learning_rate)
    moments = _moments(state.memory)
    parameters = dict(zip(own, held, strict=True))
    for name, parameter in parameters.items():
        if name in slope:
            parameter.grad = slope[name].contiguous()
        if name in moments:
            optimiser.state[parameter] = moments[name]
    if recipe.clip:
        torch.nn.utils.clip_grad_norm_(held.parameters(), recipe.clip)
    optimiser.step()
    for name, parameter in parameters.items():
        for key, value in optimiser.state.get(parameter, {}).items():
            if value is not None:
                state.memory[f"{_MOMENTS}{key}/{name}"] = torch.as_tensor(value)


def _moments(memory: Tensors) -> dict[str, dict[str, Tensor]]:
    """The optimiser's moments of v, by parameter and kind."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in memory.items():
        if name.startswith(_MOMENTS):
            kind, parameter = name.removeprefix(_MOMENTS).split("/", 1)
            found.setdefault(parameter, {})[kind] = tensor
    return found


apfl = replace(
    fedavg,
    about="each site learns a model beside the shared one and how to mix them (APFL, Deng 2020)",
    local_rule=LocalRule(gradient_rules=(Mixing(),)),
    personal_model=Mixed(),
)
