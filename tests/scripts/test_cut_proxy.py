"""The proxy between a site and the coordinator: it forwards, refuses, stalls, and goes on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that gives back what it is sent."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=repeat, args=(connection,), daemon=True).start()

    def repeat(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1000):
                connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.fixture
def proxy(script: Callable[[str], ModuleType], echo: int) -> Iterator[Any]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = script("cut_proxy").CutProxy(port, echo)
    found.number = port
    yield found
    found.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def said(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return connection.recv(1000)


def test_bytes_pass_in_both_directions(proxy: Any) -> None:
    with connect(proxy.number) as one, connect(proxy.number) as two:
        assert said(one, b"first") == b"first"
        assert said(two, b"second") == b"second"


def test_a_cut_ends_connections_and_refuses_new_ones(proxy: Any) -> None:
    with connect(proxy.number) as one:
        assert said(one, b"x") == b"x"
        proxy.cut()
        with suppress(OSError):  # reset, which is the same to who has called
            assert said(one, b"y") == b""
    with pytest.raises(OSError):
        connect(proxy.number)
    proxy.mend()
    with connect(proxy.number) as again:
        assert said(again, b"z") == b"z"


def test_a_silent_cut_holds_bytes_back_until_it_is_mended(proxy: Any) -> None:
    with connect(proxy.number) as one:
        assert said(one, b"x") == b"x"
        proxy.cut(silent=True)
        one.settimeout(0.5)
        one.sendall(b"held")
        with pytest.raises(TimeoutError):
            one.recv(1000)
        proxy.mend()
        one.settimeout(5)
        assert one.recv(1000) == b"held"
