"""What the coordinator sees of a round on known patches: with the federation's defences or none.

A round is played with plain steps of SGD, which are the easiest to invert; so a site's real rounds,
with momentum or AdamW and augmentation, tell less.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fednnunet.audit.inversion import Loss, gradient
from fednnunet.federation.filters.chain import filter_at_coordinator, filter_at_site
from fednnunet.federation.filters.filter import FilterContext
from fednnunet.federation.training_spec import Training
from fednnunet.training.per_patient import norm_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """Patches of one patient: images (1, c, z, y, x) and labels (1, z, y, x) of each."""

    images: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defence:
    """What stands between a round and the coordinator: the training's, or nothing (`None`).

    `shared` are the names of the tensors that leave.
    """

    training: Training | None
    shared: frozenset[str]

    def step(self, slopes: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """The gradient that a step is taken with: by patient clipped and noised, if so."""
        privacy = self.training.privacy if self.training else None
        if privacy is None or privacy.unit == "site":
            return slopes
        share = min(1.0, privacy.clip / max(float(norm_of(slopes)), 1e-300))
        std = privacy.clip * privacy.noise
        return {
            name: slope * share + std * torch.randn(slope.shape, generator=generator)
            for name, slope in slopes.items()
        }

    def seen(self, before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, Tensor]:
        """The update as the coordinator knows it, of the tensors that leave."""
        received = {name: tensor for name, tensor in before.items() if name in self.shared}
        sent = {name: after[name] for name in received}
        if self.training is not None:
            chain = self.training.filter_chain
            context = FilterContext(site="a", run="", round=0, phase="joint", received=received)
            sent = dict(
                filter_at_coordinator(chain, filter_at_site(chain, sent, context, {}), context)
            )
        return {name: sent[name] - tensor for name, tensor in received.items()}


def play_round(
    network: nn.Module,
    patches: Patches,
    loss: Loss,
    defence: Defence,
    *,
    learning_rate: float,
    seed: int = 0,
) -> dict[str, Tensor]:
    """What leaves of a round of one step a patch; the network is as before afterwards."""
    generator = torch.Generator().manual_seed(seed)
    before = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    try:
        for image, labels in zip(patches.images, patches.labels, strict=True):
            slopes = defence.step(gradient(network, image, labels, loss), generator)
            _descend(network, slopes, learning_rate)
        after = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    finally:
        network.load_state_dict(before)
    floating = {name: tensor for name, tensor in before.items() if tensor.is_floating_point()}
    return defence.seen(floating, after)


def _descend(network: nn.Module, slopes: dict[str, Tensor], learning_rate: float) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in slopes:
                parameter.sub_(slopes[name], alpha=learning_rate)


def cut(batch: Tensor, edges: Sequence[int]) -> Tensor:
    """The middle of the last axes of a tensor, of at most these lengths."""
    for axis, edge in enumerate(edges, start=batch.ndim - len(edges)):
        length = batch.shape[axis]
        keep = min(edge, length)
        batch = batch.narrow(axis, (length - keep) // 2, keep)
    return batch.contiguous()


def names_that_leave(training: Training, names: Collection[str]) -> frozenset[str]:
    """The tensors that a site sends in the joint rounds of the main training."""
    method = training.method.build()
    return frozenset(name for name in names if method.is_shared(name))
