"""A hospital's program: it keeps NVFlare and the worker running, and passes work between them.

It knows no torch and no NVFlare itself, so that little can end it; whatever ends one of its
children, it starts another.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fednnunet.errors import InputError
from fednnunet.federation.engines.network import children
from fednnunet.federation.engines.network.exchange import FOLDER, Tray
from fednnunet.federation.engines.network.state import SiteState, write_state

NODE = "fednnunet.federation.engines.network.flare.node"
WORKER = "fednnunet.federation.engines.network.worker"
LEAVE = "leave"
_LOOK_S = 0.1
_AGAIN_S = 5.0  # before a child that ended is started again
_STATE_S = 1.0
_LINGER_S = 2.0
_LOST_S = 15.0  # without an answer of the coordinator, before it is asked why


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The kit of a site, with the settings of its worker, and the site's working folder."""

    kit: Path
    work: Path

    @property
    def logs(self) -> Path:
        """The folder with the output of the site's processes."""
        return self.work / "logs"


class WorkerProcess:
    """The process that does a site's work, one request at a time."""

    def __init__(self, places: Places, say: Callable[[str], None]) -> None:
        self._places = places
        self._say = say
        self._child: subprocess.Popen[bytes] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._ready = False
        self.question = ""
        self.doing = ""

    def step(self, waiting: tuple[str, ...]) -> None:
        """Take up what the worker said, and give it the first of the `waiting` requests."""
        while not self._lines.empty():
            self._take(self._lines.get())
        if self._child is None or self._child.poll() is not None:
            killed = self.question if self._ready else ""
            self._start()
            if killed:
                self._say("the worker was ended; the request it worked on is answered by a fault")
                self._send(f"killed {killed}")
        elif self._ready and not self.question and waiting:
            self.question = waiting[0]
            self._send(f"answer {self.question}")

    def close(self) -> None:
        """End the worker."""
        children.end(self._child, seconds=2.0)

    def _start(self) -> None:
        children.end(self._child)
        log, kit = self._places.logs / "worker.log", str(self._places.kit)
        self._child = child = children.start(WORKER, [kit], log=log, answers=True)
        self._ready = False

        def read(lines: queue.Queue[str]) -> None:
            for line in child.stdout or ():
                lines.put(line.decode(errors="replace").rstrip("\n"))

        self._lines = queue.Queue()
        threading.Thread(target=read, args=(self._lines,), daemon=True).start()

    def _send(self, line: str) -> None:
        with suppress(OSError):  # it has ended, and is started again
            if self._child and self._child.stdin:
                self._child.stdin.write(line.encode() + b"\n")
                self._child.stdin.flush()

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "ready":
            self._ready = True
        elif word == "done":
            self.question = self.doing = ""
        elif word == "say":
            self.doing = rest
            self._say(rest)
        elif word == "error":
            what, where, mend = json.loads(rest)
            raise InputError(what, where=where, mend=mend)


@dataclass(kw_only=True)
class SiteService:
    """Runs a site until its federation has ended, its staff leave, or it is interrupted."""

    places: Places
    say: Callable[[str], None]
    check: Callable[[], str]
    """Says in words why the coordinator is not reached, or ""."""
    until_finished: bool = False
    _node: subprocess.Popen[bytes] | None = None
    _node_since: float = 0.0
    _told: str = ""
    _checked: float = 0.0

    def run(self) -> None:
        """Serve; raises what the site's staff must mend."""
        tray = Tray(self.places.kit / FOLDER)
        for mark in (tray.problem, tray.finished, self.places.work / LEAVE):
            mark.unlink(missing_ok=True)
        tray.restart()
        worker = WorkerProcess(self.places, self.say)
        written = 0.0
        try:
            while not self._is_over(tray):
                self._keep_node()
                worker.step(tray.waiting())
                if time.monotonic() - written > _STATE_S:
                    written = time.monotonic()
                    self._tell(tray, worker)
                time.sleep(_LOOK_S)
        finally:
            worker.close()
            children.end(self._node, seconds=1.0)
            (self.places.work / LEAVE).unlink(missing_ok=True)

    def _is_over(self, tray: Tray) -> bool:
        if tray.problem.exists():
            what, _, mend = tray.problem.read_text(encoding="utf-8").partition("\n")
            raise InputError(what, where=f"site kit {self.places.kit}", mend=mend)
        if (self.places.work / LEAVE).exists():
            self.say("the site leaves, as its staff asked")
            return True
        if self.until_finished and tray.finished.exists():
            time.sleep(_LINGER_S)  # NVFlare's job ends before its program does
            return True
        return False

    def _keep_node(self) -> None:
        ended = self._node is None or self._node.poll() is not None
        if ended and time.monotonic() - self._node_since > (_AGAIN_S if self._node else 0):
            children.end(self._node)
            log = self.places.logs / "nvflare.log"
            self._node = children.start(NODE, ["site", str(self.places.kit)], log=log)
            self._node_since = time.monotonic()

    def _tell(self, tray: Tray, worker: WorkerProcess) -> None:
        """Write the state for `--watch`; say once why the coordinator is not reached."""
        contact = tray.contact.stat().st_mtime if tray.contact.exists() else 0.0
        lost = time.time() - contact > _LOST_S and time.monotonic() - self._node_since > _LOST_S
        why = "" if not lost else self._told
        if lost and time.monotonic() - self._checked > _LOST_S:
            self._checked, why = time.monotonic(), self.check()
        if why != self._told:
            self._told = why
            self.say(why or "the coordinator is reached")
        state = SiteState(
            contact=contact,
            waiting=len(tray.waiting()),
            doing=worker.doing if worker.question else "",
            trouble=why,
        )
        write_state(self.places.work, state)
