"""A site's program: a worker that is killed costs one reply, and another one goes on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.engines.network import service
from fednnunet.federation.engines.network.exchange import FOLDER, Tray
from fednnunet.federation.engines.network.service import Places, WorkerProcess

FAKE = "tests.federation.engines.network.fake_worker"


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerProcess]:
    monkeypatch.setattr(service, "WORKER", FAKE)
    found = WorkerProcess(Places(kit=tmp_path, work=tmp_path / "work"), lambda text: None)
    yield found
    found.close()


def invite(tray: Tray, data: bytes) -> str:
    question = hashlib.sha256(data).hexdigest()
    path = tray.invite(question)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return question


def work_off(worker: WorkerProcess, tray: Tray) -> None:
    end = time.monotonic() + 60
    while tray.waiting() and time.monotonic() < end:
        worker.step(tray.waiting())
        time.sleep(0.02)


def test_requests_are_answered_in_their_order(worker: WorkerProcess, tmp_path: Path) -> None:
    tray = Tray(tmp_path / FOLDER)
    questions = [invite(tray, data) for data in (b"1", b"2")]
    work_off(worker, tray)
    assert [tray.reply(q).read_bytes() for q in questions] == [b"answer", b"answer"]


def test_a_killed_worker_costs_the_reply_that_it_worked_on(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    tray = Tray(tmp_path / FOLDER)
    first = invite(tray, b"1")
    (tmp_path / "end_at_first").touch()
    work_off(worker, tray)
    second = invite(tray, b"2")
    work_off(worker, tray)
    assert tray.reply(first).read_bytes() == b"killed"
    assert tray.reply(second).read_bytes() == b"answer"


def test_a_site_that_cannot_be_opened_says_why(worker: WorkerProcess) -> None:
    with pytest.raises(InputError, match="what"):
        worker._take('error ["what", "where", "mend"]')
