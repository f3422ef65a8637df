"""Per-FedAvg: shared initial weights from which a few steps give each site's personal model.

Fallah et al., "Personalized Federated Learning with Theoretical Guarantees: A Model-Agnostic
Meta-Learning Approach", NeurIPS 2020. The sites minimise the mean over sites of
F_k(w - alpha * grad F_k(w)). Its gradient holds second derivatives; the paper's first-order
variant leaves them out, and each step goes along

    grad F_k(w - alpha * grad F_k(w; D), D'),

with D and D' different samples: here the two halves of the iteration's batch. The paper steps
along this gradient with a learning rate of its own; here the recipe's optimiser and clipping do.
Per step each half has half the samples, so the time is about FedAvg's. What is averaged is the
initial model; a site's personal model is that after a little training at the site, which is the
personal phase of a training (`personal_rounds`), by the recipe's optimiser rather than one plain
step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fednnunet.errors import InputError
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import Gradient, LocalRule, Measured, RoundContext
from fednnunet.training.perturbation import gradients, perturbed
from fednnunet.training.state import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterOneStep:
    """The gradient rule: taken after a plain step of rate `alpha` on other samples."""

    alpha: float

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise InputError(f"alpha is {self.alpha}", mend="choose an alpha above 0, e.g. 0.01")

    def __call__(
        self, state: TrainingState, batch: Batch, gradient: Gradient, context: RoundContext, /
    ) -> Measured:
        """Loss and counts are those of the first half, at w.

        Raises InputError for a batch of one sample (on each GPU, where several share it).
        """
        half = len(batch) // 2
        if not half:
            raise InputError(
                "a batch of one sample cannot be halved, as this method must",
                mend="plan with more memory for a larger batch, use fewer GPUs, or another method",
            )
        measured = gradient(batch.part(0, half))
        slope = gradients(state)
        with perturbed(state.network, {name: -self.alpha * g for name, g in slope.items()}):
            gradient(batch.part(half, len(batch)))
        return measured


@dataclass(frozen=True, slots=True, kw_only=True)
class PerFedAvg:
    """Shared initial weights for personal models, first order (Per-FedAvg, Fallah 2020)."""

    tag: ClassVar[str] = "per_fedavg"

    alpha: float = 0.01
    """Learning rate of the inner step, above 0."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(
            is_shared=AllBut(self.private),
            local_rule=LocalRule(gradient_rules=(AfterOneStep(alpha=self.alpha),)),
        )
