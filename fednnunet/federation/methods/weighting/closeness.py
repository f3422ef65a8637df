"""Sites count the more, the closer their model is to the mean model.

Saha et al., "Rethinking Semi-Supervised Federated Learning: How to Co-Train Fully-Labeled and
Fully-Unlabeled Client Imaging Data" (IsoFed), MICCAI 2023, and the distance-reweighted aggregation
of Liang et al., "RSCFed: Random Sampling Consensus Federated Semi-Supervised Learning", CVPR 2022.
With x_k the trained tensors of site k, n_k its training cases, and m the mean of the x_k by cases,

    d_k = |x_k - m|,    w_k = n_k exp(-sharpness d_k / mean over sites of d).

The papers divide the distance by constants or numbers of cases; here it is divided by the round's
mean distance, so that `sharpness` means the same for any network and at any learning rate. It holds
back a hospital that differs from the others, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.merge import Needs, Reply, State
from fednnunet.federation.methods.updates import UpdateProducts
from fednnunet.federation.wire.figures import FigureName
from fednnunet.ranges import Within, check_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class Closeness:
    """Sites count by how close their model is to the mean model (after IsoFed, Saha 2023)."""

    tag: ClassVar[str] = "closeness"
    tag_field: ClassVar[str] = "rule"
    needs: ClassVar[Needs] = "replies"
    figures: ClassVar[tuple[FigureName, ...]] = ()

    sharpness: Annotated[float, Within(0, 100)] = 1.0
    """How steeply the weight falls with the distance; 0 weights by cases."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.weights]")

    def weights(self, state: State, replies: Sequence[Reply], /) -> dict[str, float]:
        """The weights; by cases where all replies are alike."""
        cases = {reply.site: reply.cases for reply in replies}
        distances = distances_to_mean(state, replies)
        mean = math.fsum(distances.values()) / max(len(distances), 1)
        if not mean:
            return {site: float(count) for site, count in cases.items()}
        return {
            site: cases[site] * math.exp(-self.sharpness * distance / mean)
            for site, distance in distances.items()
        }


def distances_to_mean(state: State, replies: Sequence[Reply]) -> dict[str, float]:
    """The distance of each site's trained tensors to their mean by cases."""
    found = UpdateProducts.of(replace(state, for_site={}), replies)
    cases = {reply.site: float(reply.cases) for reply in replies}
    mean = torch.tensor([cases[site] for site in found.sites], dtype=torch.float64)
    mean /= mean.sum()
    offsets = torch.eye(len(mean), dtype=torch.float64) - mean
    squares = ((offsets @ found.products) * offsets).sum(1).clamp_min(0)
    return dict(zip(found.sites, squares.sqrt().tolist(), strict=True))
