"""A child is heard, ends when it is told to, and does not outlive its parent."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fednnunet.federation.engines.network import children

CHILD = "tests.federation.engines.network.fake_child"
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts children that answer, and ends them after the test."""
    made: list[subprocess.Popen[bytes]] = []

    def one(*arguments: str) -> subprocess.Popen[bytes]:
        log = tmp_path / "logs" / "child.log"
        made.append(children.start(CHILD, arguments, log=log, answers=True))
        return made[-1]

    yield one
    for child in made:
        children.end(child, seconds=0.0)


def hear(child: subprocess.Popen[bytes]) -> str:
    assert child.stdout
    return child.stdout.readline().decode().strip()


def test_lines_pass_both_ways(start: Start) -> None:
    child = start()
    assert hear(child) == "ready"
    assert child.stdin
    child.stdin.write(b"good morning\n")
    child.stdin.flush()
    assert hear(child) == "heard good morning"


def test_a_child_ends_when_its_parent_is_gone(start: Start) -> None:
    child = start("deaf")
    assert hear(child) == "ready" and child.stdin
    child.stdin.close()  # as the system does when a parent ends, however it ends
    assert child.wait(30) == 1


def test_a_child_leaves_ctrl_c_to_its_parent(start: Start) -> None:
    child = start()
    assert hear(child) == "ready" and child.stdin
    child.send_signal(signal.SIGINT)
    child.stdin.write(b"still here\n")
    child.stdin.flush()
    assert hear(child) == "heard still here"


def test_a_child_is_asked_to_end_and_then_made_to(start: Start) -> None:
    heedful, deaf = start(), start("deaf")
    assert hear(heedful) == hear(deaf) == "ready"
    children.end(heedful)
    assert heedful.returncode == -signal.SIGTERM
    children.end(deaf, seconds=0.1)
    assert deaf.returncode == -signal.SIGKILL
    for pipe in (deaf.stdin, deaf.stdout):
        assert pipe and pipe.closed
    children.end(deaf)  # it has ended, and that is no fault
    children.end(None)


def test_what_a_child_prints_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "child.log"
    for _ in range(2):  # the second goes on with the first one's log
        child = children.start(CHILD, ["brief"], log=log)
        assert child.wait(30) == 3
        children.end(child)
    assert log.read_text() == "this child ends by itself\n" * 2
