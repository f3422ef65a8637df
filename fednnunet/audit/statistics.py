"""How well an attacker's score tells members from others, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Scores = Sequence[float] | np.ndarray
"""A number a case; the higher, the likelier it is a member."""
DRAWS = 2000  # of the bootstrap
FALSE_POSITIVES = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def auc(members: Scores, others: Scores) -> float:
    """Probability that a member scores higher than a non-member; ties count half."""
    a, b = np.asarray(members)[:, None], np.asarray(others)[None]
    return float((a > b).mean() + (a == b).mean() / 2)


def true_positive_rate(members: Scores, others: Scores) -> float:
    """Share of members above the score that at most 10 % of the others exceed."""
    ordered = np.sort(np.asarray(others))[::-1]
    threshold = ordered[min(int(FALSE_POSITIVES * len(ordered)), len(ordered) - 1)]
    return float((np.asarray(members) > threshold).mean())


def with_interval(
    measure: Callable[[Scores, Scores], float],
    members: Scores,
    others: Scores,
) -> Estimate:
    """A measure of two groups with its 95 % bootstrap interval over cases of both."""
    rng = np.random.default_rng(0)
    a, b = np.asarray(members), np.asarray(others)
    found = [
        measure(a[rng.integers(len(a), size=len(a))], b[rng.integers(len(b), size=len(b))])
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(found, [2.5, 97.5])
    return Estimate(value=measure(members, others), low=float(low), high=float(high))
