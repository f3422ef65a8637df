"""The clock of a benchmark that stops after so many minutes, and goes on where it was stopped."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic as now

from fednnunet.federation.coordinator.run import Run


class TimeIsUp(Exception):  # noqa: N818 - no fault
    """Ends a training between two rounds."""


def minutes_from_now(minutes: float) -> float:
    """When a benchmark that begins now is to stop."""
    return now() + 60 * minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A benchmark that stops at `stop_at`, on the clock of `minutes_from_now`."""

    stop_at: float

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return now() > self.stop_at

    def observe(self, run: Run, record: object) -> None:
        """After each round: stop if the time is up."""
        if self.is_over:
            raise TimeIsUp


def say_stopped() -> None:
    """Tell that a benchmark stopped within a training."""
    print("time is up; the same command goes on", flush=True)
