"""Child processes that end with their parent, however it ends.

A child holds the other end of a pipe on its standard input. When the parent is gone the pipe
closes, and the child ends at once; so nothing goes on that nobody watches.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_END_S = 10.0


def start(
    module: str, arguments: Sequence[str], *, log: Path, answers: bool = False
) -> subprocess.Popen[bytes]:
    """Start a module of ours as a child; what it prints goes to `log`.

    With `answers` its standard output can be read by the parent.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if answers else file,
            stderr=file,
        )


def end(child: subprocess.Popen[bytes] | None, *, seconds: float = _END_S) -> None:
    """End a child: it is asked to, and ended by force after some seconds."""
    if child is None:
        return
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def end_with_parent() -> queue.Queue[str]:
    """In a child: end when the parent does; the lines that it sends come in the queue.

    Ctrl-C at a terminal reaches all of a group: a child leaves it to its parent to end it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines: queue.Queue[str] = queue.Queue()

    def watch() -> None:
        for line in sys.stdin.buffer:
            lines.put(line.decode().strip())
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    return lines
