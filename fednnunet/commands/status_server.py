"""Serves one page on this machine's loopback address, to read and nothing else.

There is one address, `/`, and no file behind it. Another machine reaches it through a tunnel only:
`ssh -L 8080:127.0.0.1:PORT coordinator`.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from fednnunet.errors import InputError

HOST = "127.0.0.1"
_TIMEOUT_S = 10.0  # for a request to come in
_REFRESH_S = 10
_NAMES = ("127.0.0.1", "localhost")  # another name may be a foreign page's, led to this address
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@contextmanager
def serving(port: int, page: Callable[[], str]) -> Iterator[int]:
    """Serve the page meanwhile; yields the port, which is a free one for 0.

    Raises InputError for a port that cannot be used.
    """

    class Handler(_Handler):
        make = staticmethod(page)

    try:
        server = ThreadingHTTPServer((HOST, port), Handler)
    except (OSError, OverflowError) as error:
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "is in use by another program" if in_use else f"cannot be used: {error}"
        raise InputError(
            f"the port {port} of the status page {why}",
            where="--status-port",
            mend="choose another port, or leave the page out",
        ) from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of `/`."""

    make: ClassVar[Callable[[], str]]
    timeout = _TIMEOUT_S
    server_version, sys_version = "fednnunet", ""

    def do_GET(self) -> None:
        """Send the page."""
        if self.headers.get("Host", "").rpartition(":")[0] not in _NAMES:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, "this page has another address", "plain")
        elif self.path != "/":
            self._send(HTTPStatus.NOT_FOUND, "there is one page: /", "plain")
        else:
            self._send_page()

    do_HEAD = do_GET  # noqa: N815

    def _refuse(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, "this page can only be read", "plain")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815

    def _send_page(self) -> None:
        try:
            text = type(self).make()
        except Exception as error:  # noqa: BLE001 - the training goes on, whatever the page meets
            words = f"the page cannot be made now: {type(error).__name__}"
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, words, "plain")
        else:
            self._send(HTTPStatus.OK, text, "html")

    def _send(self, status: HTTPStatus, text: str, kind: str) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        if status is HTTPStatus.OK:
            self.send_header("Refresh", str(_REFRESH_S))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal is the training's."""
