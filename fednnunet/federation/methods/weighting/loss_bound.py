"""Sites count by the inverse of the upper 95 % bound of their loss.

Kafshgari et al., "Quality-Adaptive Split-Federated Learning for Segmenting Medical Images with
Inaccurate Annotations" (QA-SplitFed), ISBI 2023: labels that are wrong in many ways leave a high
loss that scatters. With n_k the training cases of site k, L_k its mean loss of the round, shifted
so that it is never negative (`fair_losses`), and s_k its standard deviation over the round's
iterations,

    w_k = n_k / max(L_k + 1.96 s_k, 0.001).

The paper takes the losses of single images at one time; here they are those of batches over a
round, since a loss of one image would say something of one patient. A site without labels, or one
that states no loss or no spread, since too few of its cases entered the round, counts with the
largest bound of the others, as the least certain one; with none of them all count by cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fednnunet.federation.methods.fair_losses import stated_loss
from fednnunet.federation.methods.merge import Needs, Reply, State
from fednnunet.federation.methods.weighting.rule import stated, with_fallback
from fednnunet.federation.wire.figures import FigureName

DEVIATIONS = 1.96
"""Of a normal distribution 97.5 % lie below the mean plus so many standard deviations."""

_MIN_BOUND = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class LossBound:
    """Sites count by the inverse of their loss's upper 95 % bound (QA-SplitFed, 2023)."""

    tag: ClassVar[str] = "loss_bound"
    tag_field: ClassVar[str] = "rule"
    needs: ClassVar[Needs] = "replies"
    figures: ClassVar[tuple[FigureName, ...]] = ("loss_spread",)

    def weights(self, state: State, replies: Sequence[Reply], /) -> dict[str, float]:
        """The weights."""
        bounds = {reply.site: _bound(reply) for reply in replies}
        known = stated(bounds)
        filled = with_fallback(bounds, known[-1] if known else 1.0)
        cases = {reply.site: reply.cases for reply in replies}
        return {site: cases[site] / max(bound, _MIN_BOUND) for site, bound in filled.items()}


def _bound(reply: Reply) -> float | None:
    loss, spread = stated_loss(reply), reply.figures.loss_spread
    return None if loss is None or spread is None else loss + DEVIATIONS * spread
