"""One page, on the loopback address, that can be read and nothing else."""

from __future__ import annotations

import http.client
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fednnunet.commands.status_server import serving
from fednnunet.errors import InputError
from tests.evaluation.test_pages_in_a_browser import CHROMIUM, FLAGS, QUIET

PAGE = "<!doctype html><title>t</title><p>as it stands"


@pytest.fixture
def port() -> Iterator[int]:
    with serving(0, lambda: PAGE) as found:
        yield found


def ask(port: int, method: str, path: str, host: str = "") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host} if host else {})
    return connection.getresponse()


def test_the_page_is_read_with_headers_that_let_it_do_nothing_else(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as found:
        assert found.read().decode() == PAGE
        headers = found.headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "script" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert "Python" not in headers["Server"]
    head = ask(port, "HEAD", "/")
    assert head.status == 200 and head.read() == b""
    assert int(head.headers["Content-Length"]) == len(PAGE)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"])
def test_nothing_can_be_written(port: int, method: str) -> None:
    assert ask(port, method, "/").status in (405, 501)


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "//etc/passwd", "/%2e%2e/rounds", "/rounds/0001.json", "/?x", "*"]
)
def test_no_other_address_is_served(port: int, path: str) -> None:
    found = ask(port, "GET", path)
    assert found.status == 404
    assert b"root" not in found.read()


@pytest.mark.parametrize("host", ["evil.example:80", "evil.example", "10.0.0.1:80"])
def test_a_foreign_name_that_leads_here_is_refused(port: int, host: str) -> None:
    found = ask(port, "GET", "/", host)
    assert found.status == 421 and PAGE.encode() not in found.read()
    assert ask(port, "GET", "/", f"localhost:{port}").status == 200


def test_it_listens_on_loopback_alone_and_ends_with_the_run() -> None:
    with serving(0, lambda: PAGE) as port:
        address = socket.gethostbyname(socket.gethostname())
        if not address.startswith("127."):
            with pytest.raises(OSError):
                socket.create_connection((address, port), timeout=2)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def test_a_page_that_cannot_be_made_does_not_end_the_server() -> None:
    pages = [PAGE]

    def make() -> str:
        return pages.pop()

    with serving(0, make) as port:
        assert ask(port, "GET", "/").status == 200
        found = ask(port, "GET", "/")
        assert found.status == 503 and b"IndexError" in found.read()
        pages.append(PAGE)
        assert ask(port, "GET", "/").status == 200


@pytest.mark.parametrize("wanted", ["used", 70_000])
def test_a_port_that_cannot_be_had_is_named(port: int, wanted: object) -> None:
    number = port if wanted == "used" else 70_000
    with (
        pytest.raises(InputError, match=rf"port {number} of the status page") as caught,
        serving(number, lambda: PAGE),
    ):
        pass
    assert "another port" in caught.value.mend


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_browser_shows_the_page(tmp_path: Path) -> None:
    from fednnunet.evaluation.status import status_page
    from tests.evaluation.test_status import STATUS

    page = status_page(STATUS)
    with serving(0, lambda: page) as port:
        command = [CHROMIUM, *FLAGS, *QUIET, f"--user-data-dir={tmp_path}", "--dump-dom"]
        done = subprocess.run(
            [*map(str, command), f"http://127.0.0.1:{port}/"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert "<td>north</td>" in done.stdout and "works on a request" in done.stdout
    assert 'src="data:image/svg+xml' in done.stdout
