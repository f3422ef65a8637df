"""FedAdp: a site counts the more, the smaller the angle between its update and the mean update.

Wu and Wang, "Fast-Convergent Federated Learning with Adaptive Weighting", IEEE Transactions on
Cognitive Communications and Networking 2021. With D_k the update of site k, D their mean by
cases, and t the number of rounds that the site took part in,

    angle_k(t) = arccos(<D, D_k> / (|D| |D_k|)),
    mean_k(t)  = mean of the angles of the t rounds,
    weight_k   = cases_k * exp(f(mean_k)),   f(a) = slope * (1 - exp(-exp(-slope * (a - 1)))),

angles in radians; f is Gompertz' curve, and `slope` 5 is the paper's. Of two sites of as many cases
the one with an angle of 0 counts some 100 times as much as one with a right angle. That helps where
updates of another direction are noise; a hospital whose images differ from the others' gains less
than by FedAvg.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.federation.methods.mean import MeanBy
from fednnunet.federation.methods.merge import Collected, Needs, Reply, State
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private
from fednnunet.federation.methods.updates import UpdateProducts

_ANGLE = "angle/"  # in memory, for each site: the mean angle so far, and over how many rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class ByAngle:
    """A merge: the mean by cases and by each site's mean angle to the mean update."""

    needs: ClassVar[Needs] = "replies"
    keeps_equal_sites: ClassVar[bool] = True

    slope: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and self.slope > 0):
            raise InputError(f"slope is {self.slope}", mend="choose a finite slope above 0, e.g. 5")

    def start(self, state: State, /) -> Collected:
        """Begin a round."""
        return Collected(state, self._merge)

    def artefacts(self, state: State, /) -> Mapping[str, object]:
        """None."""
        return {}

    def gain(self, angle: float) -> float:
        """Gompertz' curve over the angle, falling from `slope` at 0 towards 0."""
        return self.slope * (1 - math.exp(-math.exp(-self.slope * (angle - 1))))

    def _merge(self, state: State, replies: Sequence[Reply]) -> State:
        """The state after the round; sites that did not reply keep their mean angle."""
        angles = self._angles(state, replies)
        gains = {site: math.exp(self.gain(float(angle[0]))) for site, angle in angles.items()}
        merged = MeanBy(lambda reply: reply.cases * gains[reply.site]).start(state)
        for reply in replies:
            merged.add(reply)
        found = {_ANGLE + site: angle for site, angle in angles.items()}
        return replace(merged.finish(), memory={**state.memory, **found})

    def _angles(self, state: State, replies: Sequence[Reply]) -> dict[str, Tensor]:
        products = UpdateProducts.of(state, replies)
        cases = {reply.site: float(reply.cases) for reply in replies}
        found = {}
        for site in products.sites:
            angle = math.acos(products.cosine({site: 1.0}, cases))
            before = state.memory.get(_ANGLE + site, torch.zeros(2, dtype=torch.float64))
            rounds = float(before[1]) + 1
            new = float(before[0]) + (angle - float(before[0])) / rounds
            found[site] = torch.tensor([new, rounds], dtype=torch.float64)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FedAdp:
    """FedAvg weighted by cases and by agreement in direction (FedAdp, Wu and Wang 2021)."""

    tag: ClassVar[str] = "fedadp"

    slope: float = 5.0
    """How steeply a site's weight falls with its angle (the paper's alpha), above 0."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        return Method(is_shared=AllBut(self.private), merge=ByAngle(slope=self.slope))
