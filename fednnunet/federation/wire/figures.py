"""Figures of a site as a whole that a rule of aggregation weights asks for.

A site states only those that the rule in its own federation file needs, and each of them only over
as many cases as its policy wants of a score (`min_scored_cases`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fednnunet.errors import ReplyError
from fednnunet.evaluation.scores import MAX_CASES
from fednnunet.ranges import AtMost, Within, check_ranges

FigureName = Literal["annotated_cases", "loss_spread", "contour_noise"]
"""A figure by its name in `Figures`."""

FIGURE_WORDS: dict[FigureName, str] = {
    "annotated_cases": "how many training cases annotate each class",
    "loss_spread": "standard deviation of the loss over the round's iterations",
    "contour_noise": "share of voxels along the labels' contours that the received model disputes",
}
"""What leaves a site with each figure, for its ledger and for whoever approves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a site states in a reply beside loss and overlap; nothing where it is not asked.

    `annotated_cases` counts for each target the training cases whose labels annotate it, 0 where
    these are fewer than the site's policy wants. `loss_spread` is the standard deviation of the
    loss over the round's iterations. `contour_noise` is the mean over cases of the share of
    disputed contour voxels, from 0 to 1 (see `site.contour_noise`).
    """

    annotated_cases: Annotated[tuple[int, ...], AtMost(4096), Within(0, MAX_CASES)] = ()
    loss_spread: Annotated[float | None, Within(0, 1e6)] = None
    contour_noise: Annotated[float | None, Within(0, 1)] = None

    def __post_init__(self) -> None:
        check_ranges(
            self, ReplyError, mend="give coordinator and sites the same version of the program"
        )
