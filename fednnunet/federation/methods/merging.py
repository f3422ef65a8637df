"""How the mean of replies is taken, beside the sites' weights: the table `[training.merging]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fednnunet.federation.wire.figures import FigureName


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """What the coordinator does with replies besides weighting them; nothing by default."""

    head_rows: Literal["all", "annotated"] = "all"
    """Whether a class's row of the segmentation heads is averaged over all sites, or over those
    alone whose labels annotate the class (see `methods.head_rows`)."""

    conflicts: Literal["keep", "drop"] = "keep"
    """"drop" takes out of each site's update what opposes another site's update (see
    `methods.conflicts`); the coordinator then keeps all replies of a round."""

    @property
    def figures(self) -> tuple[FigureName, ...]:
        """What sites must state for it."""
        return ("annotated_cases",) if self.head_rows == "annotated" else ()
