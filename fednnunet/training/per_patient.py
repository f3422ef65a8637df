"""DP-SGD: an iteration's gradient is a sum of clipped gradients, one a patient, plus noise.

Abadi et al., "Deep Learning with Differential Privacy", CCS 2016. With g_i the gradient of patient
i's patches, C the clip, z the noise multiplier and m the expected number of patients,

    gradient = (sum over i of g_i * min(1, C / |g_i|) + z * C * N(0, 1)) / m

A patient who is added or removed changes the sum by at most C in its norm. The patients are sampled
by `patient_batches`; m is fixed, since their number in an iteration tells of the sample. Gradients
are taken patient by patient, so an iteration takes as long as its patches one after another.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fednnunet.secret_noise import digest_of
from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import Gradient, Measured, RoundContext
from fednnunet.training.secret_key import key_in, normal_like
from fednnunet.training.state import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class PerPatient:
    """The gradient rule; every `patches` samples of a batch are those of one patient.

    `clip` bounds the norm of a patient's gradient, `noise` times the clip is the standard deviation
    of the noise in the sum, and `expected` is the expected number of patients. `batch` is the
    plan's batch, by which a stepper weighs gradients, and `targets` the number of the task's.
    """

    clip: float
    noise: float
    expected: float
    patches: int
    batch: int
    targets: int

    def __call__(
        self, state: TrainingState, batch: Batch, gradient: Gradient, context: RoundContext, /
    ) -> Measured:
        """The noisy mean; loss and counts are those of the sample, and must not leave the site."""
        trained = {n: p for n, p in state.parameters.items() if p.requires_grad}
        total = {name: torch.zeros_like(p) for name, p in trained.items()}
        device = next(iter(trained.values())).device
        loss = torch.zeros((), device=device)
        counts = torch.zeros((3, self.targets), device=device)
        scale = float(state.scaler.get_scale()) if state.scaler.is_enabled() else 1.0
        for start in range(0, len(batch), self.patches):
            part_loss, part_counts = gradient(batch.part(start, start + self.patches))
            # a stepper's gradient is the mean times len(batch) / self.batch, and the loss scale
            self._add_clipped(total, trained, self.batch / (len(batch) * scale))
            loss, counts = loss + part_loss.detach(), counts + part_counts
        self._add_noise(total, state)
        for name, parameter in trained.items():
            parameter.grad = total[name].mul_(scale / self.expected)
        return loss / max(len(batch) // self.patches, 1), counts

    def _add_clipped(
        self, total: dict[str, Tensor], trained: dict[str, torch.nn.Parameter], factor: float
    ) -> None:
        """Add the present gradients times `factor`, clipped; nothing where one is not finite."""
        found = {n: p.grad.detach() * factor for n, p in trained.items() if p.grad is not None}
        norm = norm_of(found)
        if not torch.isfinite(norm):
            return
        share = min(1.0, self.clip / max(float(norm), 1e-300))
        for name, tensor in found.items():
            total[name].add_(tensor, alpha=share)

    def _add_noise(self, total: dict[str, Tensor], state: TrainingState) -> None:
        if not self.noise:
            return
        key = key_in(state.memory)
        digest = digest_of(t.cpu().contiguous().numpy().tobytes() for t in total.values()).hex()
        for name, tensor in total.items():
            use = f"gradient/{state.step}/{digest}/{name}"
            tensor.add_(normal_like(key, use, tensor), alpha=self.noise * self.clip)


def norm_of(tensors: dict[str, Tensor]) -> Tensor:
    """The L2 norm of all tensors together, in float64."""
    squares = [tensor.double().square().sum() for tensor in tensors.values()]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros((), dtype=torch.float64)
