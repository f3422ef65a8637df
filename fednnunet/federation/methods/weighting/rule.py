"""What a rule of aggregation weights is: by how much each site's reply counts in the mean.

    [training.weights]
    rule = "loss_bound"

With x_k the reply of site k and w_k its weight by the rule, the mean is sum_k w_k x_k / sum_k w_k.
A rule that compares sites has the coordinator keep all replies of a round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from fednnunet.federation.methods.merge import Needs, Reply, State
from fednnunet.federation.wire.figures import FigureName


class WeightRule(Protocol):
    """The settings of a rule, and the rule itself.

    `tag` is its name in the file. With `needs` "sum" the weight of a reply depends on nothing but
    that reply. `figures` are what sites must state for it.
    """

    tag: ClassVar[str]
    needs: ClassVar[Needs]
    figures: ClassVar[tuple[FigureName, ...]]

    def weights(self, state: State, replies: Sequence[Reply], /) -> dict[str, float]:
        """The weight of each site, not normalised, none negative; the order does not matter.

        `state` is that which the round began from.
        """
        ...


def with_fallback(values: Mapping[str, float | None], fallback: float) -> dict[str, float]:
    """The values by site, with `fallback` for the sites that state none."""
    return {site: fallback if value is None else value for site, value in values.items()}


def stated(values: Mapping[str, float | None]) -> list[float]:
    """The values that are stated, sorted."""
    return sorted(value for value in values.values() if value is not None)
