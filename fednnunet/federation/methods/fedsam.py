"""FedSAM: sites look for flat minima, which averaging harms less.

Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021; in
federations Qu et al., "Generalized Federated Learning via Sharpness Aware Minimization", ICML 2022,
and Caldarola et al., "Improving Generalization in Federated Learning by Seeking Flat Minima", ECCV
2022. In each iteration, with g the gradient at w, the step goes along the gradient at

    w + rho * g / ||g||,

on the same batch. As in the papers, the loss that is climbed holds every term that is trained (here
also local terms), and the norm is over all trained parameters together. An iteration takes two
passes, so twice the time. Weight decay and momentum are the recipe's; FedSAM's momentum variant
and ASAM's scaling by the weights' own size are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.head import fedbn_head
from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import Gradient, LocalRule, Measured, RoundContext
from fednnunet.training.perturbation import gradients, norm, perturbed
from fednnunet.training.state import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class SAMGradient:
    """The detour: the gradient is taken `rho` uphill of where the network stands."""

    rho: float = 0.05

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise InputError(f"rho is {self.rho}", mend="choose a rho above 0, e.g. 0.05")

    def __call__(
        self, state: TrainingState, batch: Batch, gradient: Gradient, context: RoundContext, /
    ) -> Measured:
        """Loss and counts are those of the network where it stands."""
        measured = gradient(batch)
        slope = gradients(state)
        length = self.rho / (norm(slope) + 1e-12)
        with perturbed(state.network, {name: length * g for name, g in slope.items()}):
            gradient(batch)
        return measured


sam_rule = LocalRule(gradient_rules=(SAMGradient(),))

fedsam = replace(
    fedavg,
    about="FedAvg of sites that look for flat minima, rho 0.05 (SAM, Foret 2021; Qu 2022)",
    local_rule=sam_rule,
)

fedsam_bn_head = replace(
    fedbn_head,
    about="fedbn_head of sites that look for flat minima, rho 0.05 (SAM, Foret 2021; Qu 2022)",
    local_rule=sam_rule,
)
