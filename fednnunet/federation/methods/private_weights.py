"""A second set of weights that a site trains privately, with its optimiser's moments.

They lie in the site's memory (`TrainingState.memory`), which is saved with its state and never
sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fednnunet.federation.methods.merge import Tensors
from fednnunet.federation.methods.method import TrainedSite
from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import Gradient
from fednnunet.training.perturbation import gradients, perturbed
from fednnunet.training.recipe import recipe_named
from fednnunet.training.state import TrainingState, make_optimiser
from fednnunet.training.step import set_learning_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateWeights:
    """Private weights under `<prefix>own/`, their moments under `<prefix>moments/`."""

    prefix: str

    def name(self, parameter: str) -> str:
        """Where the private weight of a parameter lies in the site's memory."""
        return f"{self.prefix}own/{parameter}"

    def of(self, state: TrainingState) -> dict[str, Tensor]:
        """Copies by parameter; at first the network's own. Contiguous, as fused optimisers need."""
        found = {n: state.memory.get(self.name(n), p.detach()) for n, p in state.parameters.items()}
        return {n: t.clone(memory_format=torch.contiguous_format) for n, t in found.items()}

    def gradients(
        self, state: TrainingState, batch: Batch, gradient: Gradient
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Copies of the weights, and the gradient there; none where float16 has overflowed.

        The network is as before, but for its gradients.
        """
        own = self.of(state)
        offset = {name: own[name] - p.detach() for name, p in state.parameters.items()}
        with perturbed(state.network, offset):
            gradient(batch)
            slopes = gradients(state)
        overflow = state.scaler.is_enabled() and not any(bool(g.any()) for g in slopes.values())
        return own, {} if overflow else slopes

    def update(self, site: TrainedSite, /) -> None:
        """Nothing: the weights are trained in every iteration."""

    def model(self, tensors: Tensors, memory: Tensors, /) -> dict[str, Tensor]:
        """The private weights as a personal model; of a site not yet trained, the network."""
        return {name: memory.get(self.name(name), tensor) for name, tensor in tensors.items()}

    def step(self, state: TrainingState, own: Tensors, gradients: Tensors) -> None:
        """One step of the recipe's optimiser on `own` in place, then into the site's memory.

        The learning rate is the network's present one; the recipe's gradient clipping applies.
        """
        recipe = recipe_named(state.recipe)
        held = nn.ParameterList([nn.Parameter(tensor) for tensor in own.values()])
        group = state.optimiser.param_groups[0]
        optimiser = make_optimiser(held, recipe, fused=bool(group.get("fused")))
        set_learning_rate(optimiser, group["lr"])
        moments = self._moments(state.memory)
        parameters = dict(zip(own, held, strict=True))
        for name, parameter in parameters.items():
            if name in gradients:
                parameter.grad = gradients[name].contiguous()
            if name in moments:
                optimiser.state[parameter] = moments[name]
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_(held.parameters(), recipe.clip)
        optimiser.step()
        state.memory |= {self.name(name): tensor for name, tensor in own.items()}
        for name, parameter in parameters.items():
            for key, value in optimiser.state.get(parameter, {}).items():
                if value is not None:
                    state.memory[f"{self.prefix}moments/{key}/{name}"] = torch.as_tensor(value)

    def _moments(self, memory: Tensors) -> dict[str, dict[str, Tensor]]:
        """The optimiser's moments by parameter and kind."""
        start, found = f"{self.prefix}moments/", dict[str, dict[str, Tensor]]()
        for name, tensor in memory.items():
            if name.startswith(start):
                kind, parameter = name.removeprefix(start).split("/", 1)
                found.setdefault(parameter, {})[kind] = tensor
        return found
