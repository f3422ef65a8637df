"""What is printed after each round of training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from datetime import timedelta

from rich.console import Console

from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.coordinator.rounds import Run
from fednnunet.federation.coordinator.validation import mean_dice


class RoundLines:
    """Prints a line per round, and each note of a site once; it is an observer of rounds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rounds: dict[str, list[RoundRecord]] = {}
        self._printed: set[str] = set()

    def __call__(self, run: Run, record: RoundRecord) -> None:
        """Print the line of one more round of a run."""
        done = self._rounds.setdefault(run.name, [])
        done.append(record)
        self._console.print(round_line(run.method_name, done), markup=False)
        for site, row in record.sites.items():
            for note in row.notes:
                if (line := f"  {site}: {note}") not in self._printed:
                    self._printed.add(line)
                    self._console.print(line, markup=False)


def round_line(method: str, done: Sequence[RoundRecord]) -> str:
    """One line on the last of the rounds `done`, with the estimated time of the remaining ones."""
    record = done[-1]
    sites = record.sites.values()
    parts = [f"{method}  round {record.round} of {record.of} ({record.phase})"]
    losses = [site.loss for site in sites if site.loss is not None]
    parts.append(f"loss {statistics.fmean(losses):.4f}" if losses else "loss not stated")
    parts.append(f"Dice on training patches {_mean(v for site in sites for v in site.dice)}")
    if any(site.held_out for site in sites):
        parts.append(f"held-out patches {_mean(v for site in sites for v in site.held_out)}")
    if record.scores:
        parts.append(f"held-out cases {_mean([mean_dice(record.scores)])}")
    parts.append(f"{record.seconds:.1f} s")
    left = statistics.fmean(r.seconds for r in done) * (record.of - record.round)
    if left:
        parts.append(f"{timedelta(seconds=math.ceil(left))} left")
    if record.refused:
        parts.append(f"no reply used: {', '.join(record.refused)}")
    if record.faults:
        parts.append(f"faults after the round: {', '.join(record.faults)}")
    return "  ".join(parts)


def _mean(values: Iterable[float | None]) -> str:
    defined = [value for value in values if value is not None and not math.isnan(value)]
    return f"{statistics.fmean(defined):.3f}" if defined else "-"
