"""Sites count by the Dice of their model on cases that they hold out.

The rule of FedAR, and of Wang et al. among methods for sites with unequal labels. With n_k the
training cases of site k, and D_k the mean over targets of the Dice of its trained network on a few
fixed patches of its held-out cases (`held_out` of the reply),

    w_k = n_k max(D_k, 0.01) ^ power.

A site that states no overlap, since it holds out fewer cases than its policy wants of a score,
counts with the mean D of those that do; with none of them all count by cases.

The held-out cases thus take part in choosing the weights: scores on them flatter the model a
little. Judge it by sites or cases that had no part in the training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fednnunet.errors import InputError
from fednnunet.federation.methods.merge import Needs, Reply, State
from fednnunet.federation.methods.weighting.rule import stated, with_fallback
from fednnunet.federation.wire.figures import FigureName
from fednnunet.ranges import Within, check_ranges
from fednnunet.training.counts import dice_of

_MIN_DICE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutDice:
    """Sites count by their model's Dice on held-out patches (FedAR)."""

    tag: ClassVar[str] = "held_out_dice"
    tag_field: ClassVar[str] = "rule"
    needs: ClassVar[Needs] = "replies"
    figures: ClassVar[tuple[FigureName, ...]] = ()

    power: Annotated[float, Within(0, 100)] = 1.0
    """Exponent of the Dice; 0 weights by cases."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.weights]")

    def weights(self, state: State, replies: Sequence[Reply], /) -> dict[str, float]:
        """The weights."""
        dice = {reply.site: _mean_dice(reply) for reply in replies}
        known = stated(dice)
        filled = with_fallback(dice, math.fsum(known) / len(known) if known else 1.0)
        cases = {reply.site: reply.cases for reply in replies}
        return {s: cases[s] * max(value, _MIN_DICE) ** self.power for s, value in filled.items()}


def _mean_dice(reply: Reply) -> float | None:
    """The mean over the targets that count; None where the site states none."""
    found = [dice_of(*counts) for counts in reply.held_out]
    values = [value for value in found if value is not None]
    return math.fsum(values) / len(values) if values else None
