"""Gradients and temporary changes of a network's parameters, of which gradient rules are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fednnunet.training.state import TrainingState


def gradients(state: TrainingState) -> dict[str, Tensor]:
    """Copies of the present gradients by name, without the loss scaler's factor.

    Where float16 has overflowed, all are zero: the scaler will skip this iteration's step.
    """
    scale = state.scaler.get_scale() if state.scaler.is_enabled() else 1.0
    found = {
        name: parameter.grad.detach() / scale
        for name, parameter in state.parameters.items()
        if parameter.grad is not None
    }
    if state.scaler.is_enabled() and not all(torch.isfinite(g).all() for g in found.values()):
        return {name: torch.zeros_like(gradient) for name, gradient in found.items()}
    return found


def norm(tensors: Mapping[str, Tensor]) -> Tensor:
    """The Euclidean norm over all tensors, a scalar on their device."""
    return torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors.values()])
    )


@contextmanager
def perturbed(network: nn.Module, steps: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the context `steps` are added to the parameters they name; afterwards all are as
    before, to the last bit.

    Batch normalisation does not update its running statistics meanwhile: they describe the
    unperturbed network.
    """
    parameters = {n: p for n, p in network.named_parameters() if n in steps}
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    norm_layers = [
        m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats
    ]
    try:
        for norm_layer in norm_layers:
            norm_layer.track_running_stats = False
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.add_(steps[name])
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(before[name])
        for norm_layer in norm_layers:
            norm_layer.track_running_stats = True
