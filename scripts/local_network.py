"""A federation over a network on this machine: each participant in processes of its own.

Used by `demo_network.py`, `bench_network.py` and the tests. All that listens does so on 127.0.0.1.
As root each site can run as an operating-system user of its own, whose files no other can read.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

from fednnunet.commands import provision

ROOT = Path(__file__).resolve().parents[1]
_FIRST_UID = 61_000  # of numbers that no account of a usual system has


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def can_run_as_others() -> bool:
    """Whether another user can run this Python and reach the project, e.g. not below /root."""
    code = "import fednnunet.federation.engines.network.worker"
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            user=_FIRST_UID,
            group=_FIRST_UID,
            extra_groups=[],
            env=environment,
            capture_output=True,
            check=False,
            timeout=120,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def descendants(pid: int) -> list[int]:
    """A process and all that it has started, directly or not: it comes first.

    NVFlare gives the process of a job a session of its own, so a process group is not all of them.
    """
    parents: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            stat = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            parents.setdefault(int(stat[1]), []).append(int(name))
    found = [pid]
    for each in found:
        found += sorted(parents.get(each, []))
    return found


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes, those that have ended already excepted."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def command_of(pid: int) -> str:
    """What a process runs, in short: the name of its module."""
    words = _words(pid)
    if "-m" in words:
        module = words[words.index("-m") + 1]
        return module.rpartition(".")[2]
    return "the first process" if words else "a process that had ended"


def _words(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


def network_toml(embedded: str, port: int) -> str:
    """A simulation's federation file as one of a network: without folders, and with a port."""
    lines = [line for line in embedded.splitlines() if not line.startswith(("folder", "policy"))]
    return "\n".join(lines) + f'\n\n[network]\nhost = "localhost"\nport = {port}\n'


def allow_everything(policy: str, methods: tuple[str, ...]) -> str:
    """A site's policy with a table that lets phantoms be trained on without a person."""
    names = ", ".join(f'"{name}"' for name in methods)
    return f"{policy}\n[allow]\nmethods = [{names}]\nmax_rounds = 1000\n"


@dataclass(kw_only=True)
class LocalNetwork:
    """The processes of one federation. `data` has each site's folder; kits are made in `root`."""

    root: Path
    federation: Path
    data: Mapping[str, Path]
    users: bool = False
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def kits(self) -> Path:
        """The folder of all kits."""
        return self.root / "kits"

    def log(self, name: str) -> Path:
        """What a participant prints."""
        return self.root / f"{name}.log"

    def work(self, site: str) -> Path:
        """A site's working folder."""
        return self.kits / site / "work"

    def provision(self, own_key: str = "") -> None:
        """Make the kits; with `users` each site's kit and cases become its own user's alone.

        A site `own_key` makes its private key itself, and gets a kit for its request.
        """
        make, own = [str(self.federation), "-o", str(self.kits)], str(self.root / "request")
        if own_key:
            self._call([str(self.federation), "-o", own, "--request", own_key])
            make += ["--approve", str(Path(own) / f"{own_key}.csr")]
        self._call(make)
        if own_key:
            kit = str(self.kits / own_key)
            self._call([str(self.federation), "-o", own, "--complete", kit])
        if not self.users:
            return
        self.kits.chmod(0o711)
        for site, folder in self.data.items():
            for place in (self.kits / site, folder):
                place.chmod(0o700)
                for path in (place, *place.rglob("*")):
                    os.chown(path, self.uid(site), self.uid(site))

    def _call(self, options: list[str]) -> None:
        if provision.main(options):
            raise RuntimeError("no kits were made")

    def uid(self, site: str) -> int:
        """The number of a site's user."""
        return _FIRST_UID + sorted(self.data).index(site)

    def start_site(self, site: str, *options: str) -> None:
        """Start a site; it ends when the federation has ended, if `--once` is among the options."""
        kit, data = str(self.kits / site), str(self.data[site])
        user = self.uid(site) if self.users else None
        self._start(site, "site", [kit, "--data", data, *options], user)

    def start_coordinator(self, run: Path) -> None:
        """Start the coordinator, or start it again."""
        kit = str(self.kits / "coordinator")
        self._start("coordinator", "coordinate", [kit, str(self.federation), "-o", str(run)], None)

    def _start(self, name: str, command: str, arguments: list[str], user: int | None) -> None:
        code = f"import sys; from fednnunet.commands.{command} import main; sys.exit(main())"
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HOME": str(self.kits / name)}
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
        if user is None:  # a folder of fonts that is found once takes seconds in a new home
            environment.setdefault("MPLCONFIGDIR", matplotlib.get_cachedir())
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.root,
                env=environment,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=[] if user else None,
            )

    def wait(self, name: str, seconds: float) -> int:
        """The exit code of a participant; raises TimeoutError with what it printed."""
        try:
            return self.processes[name].wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{name} has not ended: {self.tail(name)}") from None

    def wait_for(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until `ready`; raises TimeoutError."""
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise TimeoutError(f"waited for {what}: {self.tail('coordinator')}")
            time.sleep(0.1)

    def tail(self, name: str) -> str:
        """The end of what a participant printed."""
        return self.log(name).read_text(errors="replace")[-2000:] if self.log(name).exists() else ""

    def kill(self, name: str) -> None:
        """Kill a participant with all its processes, as a power cut would."""
        process = self.processes.pop(name)
        kill_all(descendants(process.pid))
        process.wait()

    def close(self) -> None:
        """End all that still runs."""
        own = [pid for process in self.processes.values() for pid in descendants(process.pid)]
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for name in list(self.processes):
            with suppress(subprocess.TimeoutExpired):
                self.processes[name].wait(15)
            self.kill(name)
        kill_all(pid for pid in own if str(self.kits) in " ".join(_words(pid)))
