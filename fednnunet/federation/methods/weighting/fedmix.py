"""Sites count by their cases and by their loss, whose part rises over the rounds.

Wicaksana et al., "FedMix: Mixed Supervised Federated Learning for Medical Image Segmentation", IEEE
TMI 2023: the sites that the model fits worst get a part of the weight of their own. With n_k the
training cases of site k, L_k its mean loss of the round, shifted so that it is never negative
(`fair_losses`), and t the share of the joint rounds before this one,

    c_k = n_k / sum_j n_j,    d_k = L_k ^ power / sum_j L_j ^ power,
    w_k = c_k + strength r(t) d_k,    r(t) = exp(-5 (1 - min(t / ramp_up, 1))^2).

The paper's lambda (`strength`) and beta (`power`) are chosen anew for each data set, 10 and 1.5 to
3; sites that are without labels, or state no loss since too few of their cases entered the round,
have no d_k: their loss would be of pseudo-labels that the model made itself. The ramp keeps the
first rounds, in which all losses are alike and large, at FedAvg's weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fednnunet.errors import InputError
from fednnunet.federation.methods.fair_losses import stated_loss
from fednnunet.federation.methods.merge import Needs, Reply, State
from fednnunet.federation.wire.figures import FigureName
from fednnunet.ranges import Within, check_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class FedMix:
    """Sites count by cases and, by a ramp, by their loss (FedMix, Wicaksana 2023)."""

    tag: ClassVar[str] = "fedmix"
    tag_field: ClassVar[str] = "rule"
    needs: ClassVar[Needs] = "replies"
    figures: ClassVar[tuple[FigureName, ...]] = ()

    strength: Annotated[float, Within(0, 1000)] = 1.0
    """Weight of the losses' part, beside that of the cases' part."""

    power: Annotated[float, Within(0, 100)] = 1.5
    """Exponent of the loss."""

    ramp_up: Annotated[float, Within(0, 1)] = 0.4
    """Share of the joint rounds in which the losses' part rises; 0 for whole from the first on."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.weights]")

    def weights(self, state: State, replies: Sequence[Reply], /) -> dict[str, float]:
        """The weights."""
        everyone = sum(reply.cases for reply in replies)
        losses = {reply.site: stated_loss(reply) for reply in replies}
        powers = {site: loss**self.power for site, loss in losses.items() if loss is not None}
        total, strength = math.fsum(powers.values()), self.strength * self.ramp(state)
        return {
            reply.site: reply.cases / everyone
            + (strength * powers.get(reply.site, 0.0) / total if total else 0.0)
            for reply in replies
        }

    def ramp(self, state: State) -> float:
        """r(t), 1 where the number of rounds is not known."""
        if not state.rounds or not self.ramp_up:
            return 1.0
        part = min(state.round / state.rounds / self.ramp_up, 1.0)
        return math.exp(-5 * (1 - part) ** 2)
