"""A batch whose cases' labels teach different things."""

from __future__ import annotations

from dataclasses import replace

from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.batches import Batch
from tests.training.steps import batch

FULL, PARTIAL = Supervision(), Supervision(kind="partial", annotated=(2,))
MIXED = SiteSupervision(cases={"case1": PARTIAL})


def mixed_batch() -> Batch:
    """Four samples, of which the two in the middle annotate label 2 only."""
    return replace(batch(), supervision=(FULL, PARTIAL, PARTIAL, FULL))
