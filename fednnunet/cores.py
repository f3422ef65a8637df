"""How many CPU cores this process may use, and how many of them are free now."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 0.5  # over which the cores' work is measured
_IDLE = (3, 4)  # columns of /proc/stat: idle, and waiting for a disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """The `present` cores that this process may run on, and how many of them others use.

    `quota` is the limit of a container (cgroup) in cores, which may be a fraction. `load` is the
    load average over the last minute, and `busy` the cores' work measured just now, in cores; each
    is None where the system does not tell it.
    """

    present: int
    quota: float | None = None
    load: float | None = None
    busy: float | None = None

    @property
    def allowed(self) -> int:
        """Whole cores that this process may use; at least 1."""
        return self.present if self.quota is None else max(1, min(self.present, int(self.quota)))

    @property
    def free(self) -> int:
        """Allowed cores that nobody else uses; at least 1.

        A core counts as used if both the load average and the measurement say so: the first one
        remembers work that has ended, the second one sees work that will end at once.
        """
        known = [each for each in (self.load, self.busy) if each is not None]
        used = round(min(known)) if known else 0
        return max(1, min(self.allowed, self.present - used))


def look(
    *, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup"), seconds: float = _SECONDS
) -> Cores:
    """Look at this machine; takes half a second where the cores' work can be measured."""
    own = _own_cores()
    before = _work(proc, own)
    if before is not None:
        time.sleep(seconds)
    after = _work(proc, own)
    busy = None
    if before is not None and after is not None and after[1] > before[1]:
        busy = len(own) * (after[0] - before[0]) / (after[1] - before[1])
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return Cores(present=len(own), quota=_quota(proc, cgroup), load=load, busy=busy)


def _own_cores() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _work(proc: Path, own: frozenset[int]) -> tuple[int, int] | None:
    """Ticks of the clock in which the cores worked, and all ticks, both since the system began."""
    working = total = 0
    try:
        lines = (proc / "stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, figures = line.partition(" ")
        number = name.removeprefix("cpu")
        if name == number or not number.isdecimal() or int(number) not in own:
            continue
        ticks = [int(each) for each in figures.split()[:8]]  # what follows is contained in these
        total += sum(ticks)
        working += sum(ticks) - sum(ticks[i] for i in _IDLE if i < len(ticks))
    return (working, total) if total else None


def _quota(proc: Path, cgroup: Path) -> float | None:
    """The smallest CPU limit of the process's control groups (version 2 or 1), in cores."""
    found = []
    for folder in _groups(proc, cgroup):
        limit = _read(folder / "cpu.max").split()
        found += [limit] if len(limit) == 2 else []
    first = cgroup / "cpu"
    found.append([_read(first / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")])
    limits = [
        int(most) / int(period)
        for most, period in found
        if most.isdecimal() and period.isdecimal() and int(period) and int(most)
    ]
    return min(limits, default=None)


def _groups(proc: Path, cgroup: Path) -> list[Path]:
    """The folders of the process's own control group and of those around it."""
    lines = _read(proc / "self" / "cgroup").splitlines()
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    parts = [part for part in own.split("/") if part not in ("", "..")]
    return [cgroup.joinpath(*parts[:count]) for count in range(len(parts) + 1)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
