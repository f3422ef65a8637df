"""How far a comparison is: one bar for all its runs, with the time that is left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from fednnunet.commands.compare_runs import Observer, RunJob
from fednnunet.commands.training_watch import duration
from fednnunet.federation.coordinator.history import RoundRecord, load_records
from fednnunet.federation.coordinator.run import Run
from fednnunet.text import plural


class CompareWatch:
    """Follows the runs of a comparison; `show(done, total, what)` draws the bar, in rounds.

    The time left is by the mean of the rounds since now, evaluations included. Runs in parallel
    count when they end. Tests give a `clock` of their own, in seconds.
    """

    def __init__(
        self,
        jobs: Sequence[RunJob],
        show: Callable[[int, int, str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._show, self._clock = show, clock
        self._rounds = {job.name: job.federation.training.all_rounds for job in jobs}
        self._done = {job.name: self._before(job) for job in jobs}
        self._ended = {job.name for job in jobs if job.done}
        self._begun, self._at_first = clock(), sum(self._done.values())
        self._draw()

    def observer(self, job: RunJob, lines: Observer) -> Observer:
        """An observer of a run's rounds, which also tells `lines`."""

        def observe(run: Run, record: RoundRecord) -> None:
            self._add(job, self._rounds[job.name] * record.round / record.of)
            lines(run, record)

        return observe

    def end(self, job: RunJob) -> None:
        """A run has ended, trained or not."""
        self._ended.add(job.name)
        self._add(job, self._rounds[job.name])

    @property
    def left_s(self) -> float | None:
        """Seconds that are left, by the mean so far; None before it is known."""
        done, total = sum(self._done.values()), sum(self._rounds.values())
        since = done - self._at_first
        return (self._clock() - self._begun) / since * (total - done) if since > 0 else None

    def _before(self, job: RunJob) -> float:
        """The rounds of a run that were done before now."""
        if job.done:
            return self._rounds[job.name]
        records = load_records(job.folder / "rounds")
        return self._rounds[job.name] * records[-1].round / records[-1].of if records else 0.0

    def _add(self, job: RunJob, rounds: float) -> None:
        self._done[job.name] = max(self._done[job.name], rounds)
        self._draw()

    def _draw(self) -> None:
        text = f"comparison  {len(self._ended)} of {plural(len(self._rounds), 'run')} done"
        if left := self.left_s:
            text += f", {duration(left)} left"
        total = sum(self._rounds.values())
        self._show(math.floor(sum(self._done.values())), total, f"{text}, rounds")
