"""The messages of the two exchanges that lead to a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fednnunet.federation.wire.message import Message
from fednnunet.planning.fingerprint import DESCRIPTION
from fednnunet.ranges import Within
from fednnunet.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureInvite(Message):
    """Asks a site to measure its cases."""

    words: ClassVar[str] = "request: additive statistics of your cases"
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintReply(Message):
    """First exchange: the site's fingerprint as one vector of sums, `tensors["sums"]`."""

    words: ClassVar[str] = DESCRIPTION


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapesInvite(Message):
    """Asks for the histogram of shapes at the federation's target spacing (z, y, x)."""

    words: ClassVar[str] = "request: histogram of resampled shapes"
    spacing_mm: Annotated[tuple[float, float, float], Within(1e-6, 1e6)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapesReply(Message):
    """Second exchange: the histogram of resampled shapes, `tensors["sums"]`."""

    words: ClassVar[str] = "histogram over cases of the shapes after resampling"
