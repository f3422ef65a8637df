"""FedSAM: sites train by sharpness-aware minimisation, towards flat minima.

Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021; in
federations Qu et al., "Generalized Federated Learning via Sharpness Aware Minimization", ICML 2022,
and Caldarola et al., "Improving Generalization in Federated Learning by Seeking Flat Minima", ECCV
2022. In each iteration, with g the gradient at w, the step goes along the gradient at

    w + rho * g / ||g||,

on the same batch. As in the papers, the loss includes every trained term (here also a method's own
terms), and the norm is over all trained parameters together. An iteration takes two forward and
backward passes, so twice the time. Weight decay and momentum are the recipe's; FedSAM's momentum
variant and ASAM's scaling by the weights' own size are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fednnunet.errors import InputError
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import Gradient, LocalRule, Measured, RoundContext
from fednnunet.training.perturbation import gradients, norm, perturbed
from fednnunet.training.state import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class SAMGradient:
    """The gradient rule: the gradient is taken at w + rho * g / ||g||."""

    rho: float

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise InputError(f"rho is {self.rho}", mend="choose a rho above 0, e.g. 0.05")

    def __call__(
        self, state: TrainingState, batch: Batch, gradient: Gradient, context: RoundContext, /
    ) -> Measured:
        """Loss and counts are those at w."""
        measured = gradient(batch)
        slope = gradients(state)
        length = self.rho / (norm(slope) + 1e-12)
        with perturbed(state.network, {name: length * g for name, g in slope.items()}):
            gradient(batch)
        return measured


@dataclass(frozen=True, slots=True, kw_only=True)
class FedSAM:
    """FedAvg of sites that train towards flat minima (SAM, Foret 2021; FedSAM, Qu 2022)."""

    tag: ClassVar[str] = "fedsam"

    rho: float = 0.05
    """Distance along the gradient at which the step's gradient is taken, above 0."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(
            is_shared=AllBut(self.private),
            local_rule=LocalRule(gradient_rules=(SAMGradient(rho=self.rho),)),
        )
