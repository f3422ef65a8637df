"""The coordinator's processes: NVFlare's server, and the keeper of the job; and the engine on them.

A coordinator that is started again begins with an empty exchange folder: what it still wants of the
sites it asks again, and they answer a question that they know with the bytes that they gave before.
"""

from __future__ import annotations

import errno
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fednnunet.errors import InputError
from fednnunet.federation.engines.network import children
from fednnunet.federation.engines.network.engine import NetworkEngine
from fednnunet.federation.engines.network.exchange import FOLDER, Desk
from fednnunet.federation.engines.network.kit import Kit
from fednnunet.federation.engines.network.service import NODE
from fednnunet.federation.network_spec import Network
from fednnunet.federation.spec import Federation

KEEPER = "fednnunet.federation.engines.network.flare.keeper"
_LOOK_S = 1.0
_SHORT_S = 0.1
_END_S = 4.0
_PORT_S = 6.0  # for the processes of a coordinator that was killed to leave the port


@dataclass(frozen=True, slots=True, kw_only=True)
class Kits:
    """The two kits that a coordinator needs, and what is in the first."""

    coordinator: Path
    admin: Path
    kit: Kit

    @property
    def logs(self) -> Path:
        """The folder with the output of the processes."""
        return self.coordinator / "logs"


@contextmanager
def connected(kits: Kits, federation: Federation, network: Network) -> Iterator[NetworkEngine]:
    """Run the coordinator's processes meanwhile; yields the engine.

    If all goes well the sites are told at the end that the federation has ended.
    """
    check_port(kits.kit)
    desk = Desk(kits.coordinator / FOLDER)
    desk.clear()
    watched = _Watched(kits, desk)
    try:
        sites = tuple(federation.sites)
        yield NetworkEngine(sites, desk, limit_s=network.limit_hours * 3600)
        desk.finished.touch()
        watched.wait(lambda: desk.alive() <= desk.informed(), _END_S)
    finally:
        watched.close()


class _Watched:
    """The two child processes; when one ends by itself, the engine is told why to stop waiting."""

    def __init__(self, kits: Kits, desk: Desk) -> None:
        self._desk = desk
        self._stop = threading.Event()
        node = children.start(
            NODE, ["coordinator", str(kits.coordinator)], log=kits.logs / "nvflare.log"
        )
        keeper = children.start(
            KEEPER, [str(kits.coordinator), str(kits.admin)], log=kits.logs / "keeper.log"
        )
        self._children = {kits.logs / "nvflare.log": node, kits.logs / "keeper.log": keeper}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def wait(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until the sites have heard of the end, so many seconds at most."""
        end = time.monotonic() + seconds
        while not ready() and time.monotonic() < end:
            self._stop.wait(_SHORT_S)

    def close(self) -> None:
        """End both."""
        self._stop.set()
        self._thread.join()
        for child in reversed(self._children.values()):
            children.end(child, seconds=1.0)  # what they carry is in the exchange

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_S):
            ended = [log for log, child in self._children.items() if _has_ended(child)]
            if ended and not self._desk.problem.exists():
                self._desk.report(f"a process of the coordinator ended, see {ended[0]}")


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    return child.poll() is not None


def check_port(kit: Kit, *, seconds: float = _PORT_S) -> None:
    """Raise InputError where the coordinator cannot be reached at its host and port from here.

    A port that is in use is looked at again for so many seconds.
    """
    place, end = f"{kit.host}:{kit.port}", time.monotonic() + seconds
    while True:
        try:
            with socket.create_server((kit.host, kit.port)):
                return
        except socket.gaierror:
            raise InputError(
                f"no machine is known as {kit.host}",
                where=place,
                mend="correct network.host in the federation file, and make the kits anew",
            ) from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise InputError(
                    f"this machine cannot be reached as {place}: {error.strerror}",
                    where=place,
                    mend="start the coordinator on the machine that network.host names",
                ) from None
        if time.monotonic() > end:
            raise InputError(
                f"the port {kit.port} is in use by another program",
                where=place,
                mend="end the other program (perhaps an earlier coordinator), or choose another "
                "port",
            )
        time.sleep(_LOOK_S)
