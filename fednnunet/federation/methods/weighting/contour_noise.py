"""Sites count by the quality of their contours.

Wu et al., "FedA3I: Annotation Quality-Aware Aggregation for Federated Medical Image Segmentation
against Heterogeneous Annotation Noise", AAAI 2024: contours that are too wide or too narrow show
where labels and model part, in the inner and in the outer band along each contour. With e_k the
site's noise estimate from 0 to 1 (`site.contour_noise`) and n_k its training cases,

    w_k = n_k max(1 - e_k, 0.01) ^ sharpness.

A site that states none, since it has no full label maps or too few of them, counts with the median
e of the others; with none of them all count by cases. The paper fits a mixture of two Gaussians to
both bands' losses over sites and weights the layers one by one, the deep ones by quality; here one
weight holds for all layers, and the estimate is one number a site.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fednnunet.errors import InputError
from fednnunet.federation.methods.merge import Needs, Reply, State
from fednnunet.federation.methods.weighting.rule import stated, with_fallback
from fednnunet.federation.wire.figures import FigureName
from fednnunet.ranges import Within, check_ranges

_MIN_QUALITY = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ContourNoise:
    """Sites count by how well their contours agree with the received model (after FedA3I, 2024)."""

    tag: ClassVar[str] = "contour_noise"
    tag_field: ClassVar[str] = "rule"
    needs: ClassVar[Needs] = "replies"
    figures: ClassVar[tuple[FigureName, ...]] = ("contour_noise",)

    sharpness: Annotated[float, Within(0, 100)] = 2.0
    """Exponent of the quality; 0 weights by cases."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.weights]")

    def weights(self, state: State, replies: Sequence[Reply], /) -> dict[str, float]:
        """The weights."""
        noise = {reply.site: reply.figures.contour_noise for reply in replies}
        known = stated(noise)
        filled = with_fallback(noise, statistics.median(known) if known else 0.0)
        cases = {reply.site: reply.cases for reply in replies}
        return {
            site: cases[site] * max(1 - value, _MIN_QUALITY) ** self.sharpness
            for site, value in filled.items()
        }
