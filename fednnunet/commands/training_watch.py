"""How far a whole training is: one bar for all runs, rounds and sites, and how long it takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console

from fednnunet import records
from fednnunet.device import choose_device, observe
from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.spec import Federation
from fednnunet.federation.workflows.lengths import RunLength

_MEASURED = 3  # iterations after the first one, which also warms up
_LONG_S = 2 * 3600.0  # from so many seconds on, a CPU's training gets the hint


class TrainingWatch:
    """Follows a training, as its watch and as an observer of its rounds (`round`).

    `show(done, total, what)` draws the bar. The estimate is printed once: after the first
    iterations of the first site (rounds of fewer iterations: after the first round), which are part
    of the training. `hint` is printed with it where the training takes hours. Tests give a `clock`
    of their own, in seconds.
    """

    def __init__(
        self,
        console: Console,
        show: Callable[[int, int, str], None],
        *,
        hint: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._show, self._hint, self._clock = console, show, hint, clock
        self._lengths: dict[str, RunLength] = {}
        self._rounds: dict[str, int] = {}
        self._sites: dict[str, int] = {}
        self._first: tuple[float, int] | None = None
        self._estimated = False

    def begin(self, lengths: Sequence[RunLength]) -> None:
        """Before anything is trained; rounds that are done already follow at once."""
        self._lengths = {length.name: length for length in lengths}
        self._rounds = dict.fromkeys(self._lengths, 0)

    def iteration(self, site: str, done: int, total: int) -> None:
        """A site has done one more iteration of the present round."""
        self._sites[site] = done
        now = self._clock()
        self._first = self._first or (now, self._done)
        if self._done - self._first[1] >= _MEASURED:
            self._estimate()
        self._draw()

    def round(self, run: Run, record: RoundRecord) -> None:
        """A round has ended, now or before this process began."""
        self._rounds[run.name] = record.round
        self._sites.clear()
        if self._first:
            self._estimate()
        self._draw()

    @property
    def left_s(self) -> float | None:
        """Seconds of training that are left, by the mean so far; None before it is known."""
        if self._first is None or self._done <= self._first[1]:
            return None
        seconds = (self._clock() - self._first[0]) / (self._done - self._first[1])
        return seconds * (self._total - self._done)

    @property
    def _total(self) -> int:
        return sum(length.iterations for length in self._lengths.values())

    @property
    def _done(self) -> int:
        past = sum(sum(self._lengths[name].rounds[:n]) for name, n in self._rounds.items())
        return min(past + sum(self._sites.values()), self._total)

    def _draw(self) -> None:
        run = next(
            (each for each in self._lengths.values() if self._rounds[each.name] < len(each.rounds)),
            None,
        )
        if run is None:
            text = "training"
        else:
            text = f"{run.method}  round {self._rounds[run.name] + 1} of {len(run.rounds)}"
        if left := self.left_s:
            text += f", {duration(left)} left"
        self._show(self._done, self._total, f"{text}, iterations")

    def _estimate(self) -> None:
        """Print the estimate, if it is known and was not printed yet."""
        left = self.left_s
        if self._estimated or not left:
            return
        self._estimated = True
        end = datetime.now() + timedelta(seconds=left)
        each = left / (self._total - self._done)
        self._console.print(
            f"estimate: {each:.2g} s an iteration, {self._total - self._done:,} of "
            f"{self._total:,} iterations left: {duration(left)}, until {end:%Y-%m-%d %H:%M}; "
            "validation and the evaluation at the end come on top",
            markup=False,
            soft_wrap=True,
        )
        if left > _LONG_S and self._hint:
            self._console.print(self._hint, markup=False, soft_wrap=True)


def slow_hint(folder: Path, device: str | None) -> str:
    """What makes a planned run faster where it is trained on a CPU; empty on a GPU.

    `device` replaces that of the run's federation file.
    """
    federation = records.read(Federation, folder / "federation.json")
    chosen = choose_device(device or federation.training.device, observe(), gradients=True)
    if chosen.kind != "cpu":
        return ""
    ways = ["a GPU (--device cuda)", "fewer rounds"]
    if federation.training.recipe != "fast":
        ways.insert(0, 'recipe = "fast"')
    if federation.budget.planner != "cpu":
        ways.insert(0, "fednnunet_plan --planner cpu")
    return f"this CPU needs hours; faster with: {', '.join(ways)}"


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, rounded up: "1:05:09"."""
    return str(timedelta(seconds=math.ceil(seconds)))
