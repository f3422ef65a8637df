"""What the network costs a round beyond training: time, bytes on the wire, and memory.

    python scripts/bench_network.py --mb 22,120 --sites 3 --rounds 3

NVFlare's programs of the coordinator and of each site run as in a federation, with TLS on
127.0.0.1. In place of training each site gives back a model of the same size at once, so that a
round is what the engine, NVFlare and the merge take. Bytes are those of the loopback interface, on
which each message crosses twice: from the site to NVFlare's server, and to the job's process.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from fednnunet.commands.cli import parse, run_command
from fednnunet.federation.coordinator.engine import Deadline
from fednnunet.federation.engines.network import children
from fednnunet.federation.engines.network.coordinator import Kits, connected
from fednnunet.federation.engines.network.engine import NetworkEngine
from fednnunet.federation.engines.network.exchange import FOLDER, Tray
from fednnunet.federation.engines.network.federation_file import read_network_federation
from fednnunet.federation.engines.network.kit import read_kit
from fednnunet.federation.engines.network.service import NODE
from fednnunet.federation.wire.exact_sum import WeightedMean
from fednnunet.federation.wire.messages import TrainInvite, TrainReply, pack

sys.path.insert(0, str(Path(__file__).parent))
from local_network import free_port

_TOML = """\
[task]
name = "bench"
channels = ["MRI"]
labels = ["background", "organ"]
{sites}
[network]
host = "localhost"
port = {port}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the benchmark."""

    mb: tuple[float, ...] = (22.0, 120.0)
    """sizes of the model in MB"""
    sites: int = 3
    """number of sites"""
    rounds: int = 3
    """rounds of each size; the first one, in which processes start, is shown apart"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print a line for each round."""
    options = parse(Options, argv, prog="bench_network", about=(__doc__ or "").split("\n")[0])
    return run_command(lambda: _bench(options), private=True)


def _bench(options: Options) -> None:
    # a job of NVFlare may write its last lines while the folder is removed
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        names = tuple(f"site{number:02d}" for number in range(options.sites))
        kits = _make_kits(root, names)
        federation, network = read_network_federation(root / "federation.toml")
        nodes = [
            children.start(NODE, ["site", str(root / "kits" / name)], log=root / f"{name}.log")
            for name in names
        ]
        try:
            with connected(kits, federation, network) as engine:
                for mb in options.mb:
                    _rounds(engine, root, names, mb, options.rounds)
        finally:
            for node in nodes:
                children.end(node, seconds=2.0)


def _make_kits(root: Path, names: Sequence[str]) -> Kits:
    from fednnunet.federation.engines.network.flare.provision import Wanted, make_kits, use_store

    sites = "".join(f"[sites.{name}]\n" for name in names)
    port = free_port()
    text = _TOML.format(sites=sites, port=port)
    (root / "federation.toml").write_text(text)
    (root / "kits").mkdir()
    wanted = Wanted(sites=tuple(names), host="localhost", port=port, federation=text)
    make_kits(wanted, root / "kits")
    coordinator = root / "kits" / "coordinator"
    use_store(coordinator, root / "store")
    kit = read_kit(coordinator, "coordinator")
    return Kits(coordinator=coordinator, admin=root / "kits" / "admin", kit=kit)


def _rounds(
    engine: NetworkEngine, root: Path, names: Sequence[str], mb: float, rounds: int
) -> None:
    size = int(mb * 1e6 / 4 / 20)
    tensors = {f"t{number:02d}": torch.randn(size) for number in range(20)}
    for number in range(rounds):
        reply = pack(_reply(tensors, number))
        Path("/proc/self/clear_refs").write_text("5")  # begins the peak of memory anew
        idle, stop = _memory("VmRSS"), threading.Event()
        sites = threading.Thread(target=_give_back, args=(root, names, reply, stop))
        sites.start()
        invites = {name: _invite(tensors, number) for name in names}
        flare, own = _flare_cpu(root), time.process_time()
        before, begin = _loopback(), time.perf_counter()
        mean = WeightedMean()
        for answer in engine.ask(invites, Deadline(600)):
            if answer.reply is not None:
                mean.add(answer.site, answer.reply.tensors, 1.0)
            del answer
        merged = mean.mean()
        seconds = time.perf_counter() - begin
        flare, own = _flare_cpu(root) - flare, time.process_time() - own
        stop.set()
        sites.join()
        payload = 2 * len(names) * len(reply)
        sys.stdout.write(
            f"{mb:.0f} MB, {len(names)} sites, round {number}: {seconds:.1f} s; CPU {own:.1f} s of "
            f"engine, merge and replies, {flare:.1f} s of NVFlare's processes; "
            f"{(_loopback() - before) / payload:.2f} x the payload on loopback (two hops), "
            f"coordinator's peak {(_memory('VmHWM') - idle) / 1e6 / mb:.1f} x the model above idle "
            f"{idle / 1e6:.0f} MB; NVFlare's server and job "
            f"{', '.join(f'{peak / 1e6:.0f}' for peak in _flare_peaks())} MB; "
            f"{len(merged)} tensors merged\n"
        )
        sys.stdout.flush()


def _give_back(root: Path, names: Sequence[str], reply: bytes, stop: threading.Event) -> None:
    """Answer each site's invite with the same bytes."""
    trays = [Tray(root / "kits" / name / FOLDER) for name in names]
    while not stop.wait(0.05):
        for tray in trays:
            for question in tray.waiting():
                tray.put_reply(question, reply)


def _invite(tensors: dict[str, torch.Tensor], number: int) -> TrainInvite:
    return TrainInvite(
        tensors=tensors,
        run="",
        method="fedavg",
        round=number,
        phase="joint",
        resume_round=0,
        iterations=1,
        schedule_start=0,
        schedule_length=1,
    )


def _reply(tensors: dict[str, torch.Tensor], number: int) -> TrainReply:
    return TrainReply(
        tensors=tensors,
        run="",
        round=number,
        phase="joint",
        cases=1,
        loss=1.0,
        seconds=0.0,
        wait_share=0.0,
    )


def _memory(field: str, pid: int | str = "self") -> int:
    """A process's memory in bytes: now (VmRSS) or at most (VmHWM)."""
    text = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in text.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _flare_peaks() -> list[int]:
    """The peak memory of NVFlare's processes at the coordinator."""
    peaks = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if "kits/coordinator" in line and "keeper" not in line:
                peaks.append(_memory("VmHWM", pid))
        except OSError:
            continue
    return peaks


def _flare_cpu(root: Path) -> float:
    """CPU seconds so far of all of NVFlare's processes, at the sites and the coordinator."""
    ticks = 0
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if str(root) in line and int(pid) != os.getpid():
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _loopback() -> int:
    """Bytes that the loopback interface has received."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return int(next(line for line in lines if line.strip().startswith("lo:")).split()[1])


if __name__ == "__main__":
    sys.exit(main())
