"""Ditto: a private model, trained in addition to the shared one and pulled towards it.

Li et al., "Ditto: Fair and Robust Federated Learning Through Personalization", ICML 2021. The
shared w is trained as in FedAvg. On each batch a site also takes a step on private weights v along

    grad f(v) + strength * (v - w_received),

by the recipe's optimiser with moments of its own. v is initialised with the first w that the site
receives; it stays there and is the site's personal model. An iteration takes two gradients, so
twice FedAvg's time. The paper trains v after w in a round; here both use the same batches.
"""

from dataclasses import dataclass
from typing import ClassVar

from fednnunet.errors import InputError
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.private_weights import PrivateWeights
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import Gradient, LocalRule, Measured, RoundContext
from fednnunet.training.state import TrainingState

PRIVATE = PrivateWeights(prefix="ditto/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ditto:
    """FedAvg, and each site's private model is pulled towards the shared one (Ditto, Li 2021)."""

    tag: ClassVar[str] = "ditto"
    strength: float = 0.1
    """Strength of the pull (the paper's lambda), 0 or more; with 0 each model is trained alone."""
    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def __call__(
        self, state: TrainingState, batch: Batch, gradient: Gradient, context: RoundContext, /
    ) -> Measured:
        """The gradient rule: loss and counts are w's; v is kept only where nothing raises."""
        own, slopes = PRIVATE.gradients(state, batch, gradient)
        measured, received = gradient(batch), context.received
        if slopes:
            for name in slopes.keys() & received.keys():
                slopes[name] += self.strength * (own[name] - received[name].to(own[name]))
            PRIVATE.step(state, own, slopes)
        return measured

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        if not 0 <= self.strength < float("inf"):
            raise InputError(f"strength is {self.strength}", mend="choose 0 or more, e.g. 0.1")
        return Method(
            is_shared=AllBut(self.private),
            local_rule=LocalRule(gradient_rules=(self,)),
            personal_model=PRIVATE,
        )
