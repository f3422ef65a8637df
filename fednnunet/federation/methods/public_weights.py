"""By what a reply counts in a method's mean, where that is known without the reply.

Under masks the coordinator sees one sum, `sum of weight * reply`. A method can work with it if its
state after a round follows from the mean of the replies and from figures that each site states
openly: its number of cases and of iterations. Methods that weight sites by their losses, compare
replies or keep something of each of them cannot.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from fednnunet.federation.methods.fednova import NormalisedAggregation
from fednnunet.federation.methods.mean import MeanBy, Weight, by_cases, uniform
from fednnunet.federation.methods.merge import Aggregation, Merge, Reply, State, Streamed
from fednnunet.federation.methods.scaffold import ControlAggregation


def by_cases_per_iteration(reply: Reply) -> float:
    """FedNova's weight."""
    return reply.cases / reply.iterations


PUBLIC: tuple[Weight, ...] = (by_cases, uniform)
"""Weights that depend on nothing but the open figures."""

STREAMED: Mapping[Callable[[State], Aggregation], Weight] = {
    NormalisedAggregation: by_cases_per_iteration,
    ControlAggregation: by_cases,
}
"""The weights of aggregations that need the mean of the replies and their open figures."""


def public_weight(merge: Merge) -> Weight | None:
    """The weight of a reply in the mean that the merge takes; None where it needs more of it."""
    if merge.needs != "sum":
        return None
    if isinstance(merge, MeanBy):
        return merge.weight if merge.weight in PUBLIC else None
    if isinstance(merge, Streamed):
        return STREAMED.get(merge.begin)
    inner = getattr(merge, "mean", None)
    return public_weight(inner) if inner and dataclasses.is_dataclass(merge) else None
