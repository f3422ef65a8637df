"""A TCP proxy on 127.0.0.1 that can be cut, as a network between two machines can.

Used by `kill_network.py` and the tests.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

_LOOK_S = 0.2
_PIECE = 2**16


class CutProxy:
    """Forwards connections from `port` to `target`, both of this machine, until it is closed.

    While it is cut, new connections are refused and the present ones are reset; if it is cut in
    silence, they stay open and no byte passes, as when a firewall drops packets.
    """

    def __init__(self, port: int, target: int) -> None:
        self._port, self._target = port, target
        self._open = threading.Event()
        self._flow = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.mend()

    def cut(self, *, silent: bool = False) -> None:
        """Let no byte pass from now on."""
        self._flow.clear()
        if silent:
            return
        self._open.clear()
        if self._listener is not None:
            _close(self._listener)
            self._listener = None
        with self._lock:
            for each in tuple(self._sockets):
                _close(each)

    def mend(self) -> None:
        """Let all pass again."""
        self._flow.set()
        if self._open.is_set():
            return
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=64)
        self._open.set()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """End for good."""
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        while self._open.is_set():
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            _close(near)
            return
        far.settimeout(None)
        with self._lock:
            self._sockets |= {near, far}
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                while not self._flow.wait(_LOOK_S):
                    if not self._open.is_set():
                        break
                sink.sendall(data)
        with self._lock:
            self._sockets -= {source, sink}
        _close(source)
        _close(sink)


def _close(each: socket.socket) -> None:
    """Close a socket, and wake who waits for it."""
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
