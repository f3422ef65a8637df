"""How many threads torch uses on the CPU: chosen once a run, written down, and kept.

Sums of floats depend on the number of threads in their last bits. A training that is continued
therefore uses the number that it began with, whatever else the machine does by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from fednnunet import cores, records
from fednnunet.cores import Cores
from fednnunet.text import plural

FILE = "threads.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """A run's number of CPU threads, and why, in words."""

    count: int
    reason: str

    def __str__(self) -> str:
        return f"{plural(self.count, 'CPU thread')}: {self.reason}"


def choose_threads(found: Cores, usual: int) -> Threads:
    """The `usual` number (torch's own), but no more than cores are free on this machine.

    Two threads on one free core wait for each other at the end of every operation: a round was
    measured to take five times as long as by one thread.
    """
    if usual <= found.free:
        return Threads(count=usual, reason="as many as torch chooses itself")
    if found.free == found.allowed:
        return Threads(count=found.free, reason="as many cores as this process may use")
    used = found.allowed - found.free
    reason = f"{used} of {found.allowed} cores {'is' if used == 1 else 'are'} used by others"
    return Threads(count=found.free, reason=reason)


def threads_of_run(folder: Path, asked: int, *, alone: bool = True) -> Threads:
    """The threads of the run in `folder`, which keeps them in `threads.json`.

    `asked` is what the federation file sets (0: choose). A run that begins without a number is
    given one by what is free now, or torch's present number unless it runs `alone` (not beside
    other runs of ours). A number that is set replaces the one that is kept.
    """
    path = folder / FILE
    kept = records.read(Threads, path) if path.is_file() else None
    if kept is not None and asked in (0, kept.count):
        return kept
    if asked:
        chosen = Threads(count=asked, reason="training.threads")
    elif alone and torch.get_num_threads() > 1:
        chosen = choose_threads(cores.look(), torch.get_num_threads())
    elif alone:
        chosen = Threads(count=1, reason="as many as torch chooses itself")
    else:
        chosen = Threads(count=torch.get_num_threads(), reason="shared among parallel runs")
    records.write(chosen, path)
    return chosen


@contextmanager
def using(threads: Threads) -> Iterator[None]:
    """Context in which torch computes by so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads.count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
