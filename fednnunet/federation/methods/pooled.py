"""All cases in one place: what sharing the cases would reach, the upper reference of a federation.

This is a kind of run and not a method: one site trains on all cases by FedAvg, whose mean over one
site is that site (`workflows.pooled`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from fednnunet.federation.methods.fedavg import FedAvg
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import Settings

RunKind = Literal["federated", "pooled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """All cases are trained on in one place; for comparison on one's own machine only."""

    tag: ClassVar[str] = "pooled"

    def build(self) -> Method:
        """FedAvg, of the one site that holds all cases."""
        return FedAvg().build()


def run_kind(settings: Settings) -> RunKind:
    """Whether a training is of the sites together, or of their pooled cases."""
    return "pooled" if isinstance(settings, Pooled) else "federated"
