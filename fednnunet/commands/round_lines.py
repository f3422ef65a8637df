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

_NAMES = 12  # sites that a line names


class RoundLines:
    """Prints a line per round, and each note of a site once; it is an observer of rounds.

    With `traffic` a second line says who answered and how many bytes went each way.
    """

    def __init__(self, console: Console, *, traffic: bool = False) -> None:
        self._console = console
        self._traffic = traffic
        self._rounds: dict[str, list[RoundRecord]] = {}
        self._printed: set[str] = set()

    def __call__(self, run: Run, record: RoundRecord) -> None:
        """Print the line of one more round of a run."""
        done = self._rounds.setdefault(run.name, [])
        done.append(record)
        self._console.print(round_line(run.method_name, done), markup=False)
        if self._traffic:
            self._console.print(f"  {traffic_line(record)}", markup=False)
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
    if left := time_left(done):
        parts.append(f"{left} left")
    if record.refused:
        parts.append(f"no reply used: {', '.join(record.refused)}")
    if record.faults:
        parts.append(f"faults after the round: {', '.join(record.faults)}")
    return "  ".join(parts)


def time_left(done: Sequence[RoundRecord]) -> str:
    """How long the remaining rounds take if they are like those `done`; empty after the last."""
    if not done:
        return ""
    record = done[-1]
    seconds = statistics.fmean(r.seconds for r in done) * (record.of - record.round)
    return str(timedelta(seconds=math.ceil(seconds))) if seconds else ""


def traffic_line(record: RoundRecord) -> str:
    """Who answered in a round, and how much went each way."""
    sent, received = traffic([record])
    return f"answered: {answered(record)}; {sent} to these sites, {received} from them"


def answered(record: RoundRecord) -> str:
    """The sites whose replies a round used, not all of them if they are many."""
    names = sorted(record.sites)
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more if names else "nobody"


def traffic(found: Iterable[RoundRecord], site: str = "") -> tuple[str, str]:
    """The bytes of rounds in words, to the sites that answered and from them; or of one site."""
    rows = [row for record in found for name, row in record.sites.items() if site in ("", name)]
    sent, received = sum(r.bytes_to_site for r in rows), sum(r.bytes_from_site for r in rows)
    return f"{sent / 2**20:,.1f} MiB", f"{received / 2**20:,.1f} MiB"


def _mean(values: Iterable[float | None]) -> str:
    defined = [value for value in values if value is not None and not math.isnan(value)]
    return f"{statistics.fmean(defined):.3f}" if defined else "-"
