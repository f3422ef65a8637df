"""What opposes the labels is taken out of the gradient on pseudo-labels.

Zhu et al., "FedDM: Federated Weakly Supervised Segmentation via Annotation Calibration and Gradient
De-Conflicting", IEEE TMI 2023, which removes conflicts between sites by the history of the global
model; the projection is that of Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS
2020. With g the gradient on labels and p that on pseudo-labels, where p . g < 0,

    p <- p - (p . g / g . g) g.

In a batch of which nothing is known g is 0; there -u takes its place, with u the change of the
received model over the last round. The gradient is computed twice.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import Gradient, Measured, RoundContext
from fednnunet.training.state import TrainingState

_BEFORE, _CHANGE = "pseudo_labels/before/", "pseudo_labels/change/"


def remember_change(state: TrainingState) -> None:
    """At the beginning of a round: keep how the received model has changed since the last one."""
    for name, parameter in state.parameters.items():
        now = parameter.detach().clone()
        before = state.memory.get(_BEFORE + name, now)
        state.memory[_CHANGE + name] = now - before
        state.memory[_BEFORE + name] = now


def deconflicted(
    state: TrainingState, batch: Batch, gradient: Gradient, context: RoundContext, /
) -> Measured:
    """A gradient rule: the gradient of an iteration without what opposes the labels."""
    if not batch.pseudo:
        return gradient(batch)
    labelled = any(supervision.kind != "none" for supervision in batch.supervision)
    gradient(batch.without_pseudo())
    on_labels = {n: p.grad.clone() for n, p in state.parameters.items() if p.grad is not None}
    measured = gradient(batch)
    found = {n: p.grad for n, p in state.parameters.items() if p.grad is not None}
    on_labels = {n: on_labels.get(n, torch.zeros_like(g)) for n, g in found.items()}
    on_pseudo = {n: g - on_labels[n] for n, g in found.items()}
    reference = on_labels if labelled else {n: -state.memory[_CHANGE + n] for n in found}
    along = _dot(on_pseudo, reference) / _dot(reference, reference).clamp_min(1e-30)
    opposing = along.clamp_max(0)
    for name, slope in found.items():
        slope.sub_(opposing * reference[name])
    return measured


def _dot(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([(a[name].float() * b[name].float()).sum() for name in a]).sum()
