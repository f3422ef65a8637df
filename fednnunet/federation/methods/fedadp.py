"""FedAdp: a site that pulls the way of all counts more than one that pulls aside.

Wu and Wang, "Fast-Convergent Federated Learning with Adaptive Weighting", IEEE Transactions on
Cognitive Communications and Networking 2021. With D_k the change that site k made, D their mean by
cases, and t the number of rounds that the site took part in,

    angle_k(t) = arccos(<D, D_k> / (|D| |D_k|)),
    mean_k(t)  = mean of the angles of the t rounds,
    weight_k   = cases_k * exp(f(mean_k)),   f(a) = slope * (1 - exp(-exp(-slope * (a - 1)))),

angles in radians; f is Gompertz' curve, and `slope` 5 is the paper's. Of two sites of as many cases
the one with an angle of 0 counts some 100 times as much as one with a right angle: that helps where
sites that pull aside are noise, and takes from a hospital that is unlike the others what it could
gain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.method import MeanBy, Reply, State, by_cases
from fednnunet.federation.methods.updates import Pulls

_ANGLE = "angle/"  # in memory, for each site: the mean angle so far, and over how many rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class ByAngle:
    """A merge: the mean by cases and by each site's mean angle to the mean change."""

    slope: float = 5.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and self.slope > 0):
            raise InputError(f"slope is {self.slope}", mend="choose a finite slope above 0, e.g. 5")

    def __call__(self, state: State, replies: Sequence[Reply], /) -> State:
        """The state after the round; sites that did not reply keep their mean angle."""
        angles = self._angles(state, replies)

        def weights(seen: Sequence[Reply]) -> Mapping[str, float]:
            return {r.site: r.cases * math.exp(self.gain(float(angles[r.site][0]))) for r in seen}

        merged = MeanBy(weights)(state, replies)
        found = {_ANGLE + site: angle for site, angle in angles.items()}
        return replace(merged, memory={**merged.memory, **found})

    def gain(self, angle: float) -> float:
        """Gompertz' curve over the angle, falling from `slope` at 0 towards 0."""
        return self.slope * (1 - math.exp(-math.exp(-self.slope * (angle - 1))))

    def _angles(self, state: State, replies: Sequence[Reply]) -> dict[str, Tensor]:
        pulls, cases = Pulls.of(state, replies), by_cases(replies)
        found = {}
        for site in pulls.sites:
            angle = math.acos(pulls.cosine({site: 1.0}, cases))
            before = state.memory.get(_ANGLE + site, torch.zeros(2, dtype=torch.float64))
            rounds = float(before[1]) + 1
            new = float(before[0]) + (angle - float(before[0])) / rounds
            found[site] = torch.tensor([new, rounds], dtype=torch.float64)
        return found


fedadp = replace(
    fedavg,
    about="FedAvg weighted by cases and by agreement in direction (FedAdp, Wu and Wang 2021)",
    merge=ByAngle(),
)
