"""All cases in one place: what would be reached if they could be shared, the other reference."""

from __future__ import annotations

from dataclasses import replace

from fednnunet.federation.methods.fedavg import fedavg

pooled = replace(
    fedavg,
    about="all cases in one place; for comparison on one's own machine only",
    pools=True,
)
