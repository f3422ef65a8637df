"""Run a command and sample the memory of all its processes (Linux)."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_EVERY = 0.05  # seconds between samples


@dataclass(frozen=True)
class Watched:
    """A command's exit code, its time, and its peaks of memory.

    `total_gib` is the largest sum over its processes, pages that they share counted once;
    `process_gib` the largest of a single process.
    """

    code: int
    seconds: float
    total_gib: float
    process_gib: float


def watch(command: list[str], environment: dict[str, str], log: IO[str]) -> Watched:
    """Run `command` to its end."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    total = largest = 0.0
    while process.poll() is None:
        sizes = [_gib(pid) for pid in _family(process.pid)]
        total = max(total, sum(shared for shared, _ in sizes))
        largest = max(largest, *(whole for _, whole in sizes))
        time.sleep(_EVERY)
    return Watched(process.returncode, time.perf_counter() - start, total, largest)


def _family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        for path in Path(f"/proc/{current}/task").glob("*/children"):
            try:
                waiting += map(int, path.read_text().split())
            except OSError:
                continue
    return found


def _gib(pid: int) -> tuple[float, float]:
    """Proportional and resident size of a process; 0 once it has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0, 0.0
    sizes = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line[0] in "PR"}
    return int(sizes.get("Pss", 0)) / 2**20, int(sizes.get("Rss", 0)) / 2**20
