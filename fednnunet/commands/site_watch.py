"""What a site does, for its staff: messages that left, the work under way, load and time left."""

from __future__ import annotations

import math
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from fednnunet.cores import look
from fednnunet.federation.engines.network.federation_file import read_network_federation
from fednnunet.federation.engines.network.kit import FEDERATION
from fednnunet.federation.engines.network.state import SiteState, read_state
from fednnunet.federation.wire import chain

_EVERY_S = 10.0  # at least this often a line tells of the load
_LOOK_S = 0.5  # between two looks, besides half a second that measuring the CPU takes
_RECENT = 6  # rounds from which the time of a round is estimated
_SMI_S = 5.0
_QUERY = "utilization.gpu,memory.used,memory.total"

Entry = Mapping[str, object]


def watch(kit: Path, work: Path, console: Console) -> None:
    """Print what leaves the site and what it does, until Ctrl-C."""
    rounds = read_network_federation(kit / FEDERATION)[0].training.all_rounds
    seen, shown, printed = 0, ("", 0, ""), 0.0
    while True:
        state, entries = read_state(work), chain.read(work / chain.FILE)
        for entry in entries[seen:]:
            asked = f" (asked: {entry['asked']})" if entry.get("asked") else ""
            console.print(f"{entry['time']} left: {entry['what']}, {entry['bytes']} bytes{asked}")
        seen = len(entries)
        if state:
            now = (state.doing, state.waiting, state.trouble)
            if now != shown or time.monotonic() - printed > _EVERY_S:
                console.print(f"{state_line(state)}; {load()}; {time_left(entries, rounds)}")
                shown, printed = now, time.monotonic()
        time.sleep(_LOOK_S)


def state_line(state: SiteState) -> str:
    """What a site does now, in words."""
    reached = f"{datetime.fromtimestamp(state.contact):%H:%M:%S}" if state.contact else "-"
    trouble = f" {state.trouble}" if state.trouble else ""
    return (
        f"now: {state.doing or 'nothing'}; {state.waiting} requests wait; coordinator answered "
        f"last at {reached}{trouble}"
    )


def load() -> str:
    """How busy this machine is: cores, and each GPU of NVIDIA's."""
    cores = look()
    busy = cores.load if cores.busy is None else cores.busy
    parts = [f"CPU {'-' if busy is None else f'{busy:.1f}'} of {cores.present} cores"]
    return ", ".join([*parts, *_gpus()])


def time_left(entries: Sequence[Entry], rounds: int) -> str:
    """How long a training of so many rounds still takes, by the times of the last replies."""
    replies = [entry for entry in entries if entry.get("message") == "TrainReply"]
    run = replies[-1].get("run") if replies else None
    times = {
        int(str(entry["round"])): datetime.fromisoformat(str(entry["time"]))
        for entry in replies
        if entry.get("run") == run and entry.get("round") is not None
    }
    last = sorted(times)[-_RECENT:]
    if len(last) < 2:
        return "time left is not known yet"
    steps = [(times[b] - times[a]).total_seconds() / (b - a) for a, b in pairwise(last)]
    remaining = max(rounds - last[-1] - 1, 0)
    left = timedelta(seconds=math.ceil(statistics.median(steps) * remaining))
    return f"round {last[-1] + 1} of at most {rounds} was answered, {left} left"


def _gpus() -> list[str]:
    """Use and memory of each GPU; none where nvidia-smi is missing or does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SMI_S)
        rows = [line.split(",") for line in done.stdout.splitlines() if line.strip()]
        return [
            f"GPU {number} {int(share)} %, {int(used) / 1024:.1f} of {int(whole) / 1024:.1f} GiB"
            for number, (share, used, whole) in enumerate(rows)
        ]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
