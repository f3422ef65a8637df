"""A job runs as long as replies are awaited, and another follows where sites have no part in it."""

from __future__ import annotations

import queue
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("nvflare", reason="pip install 'fednnunet[network]'")

from nvflare.fuel.flare_api.api_spec import AuthenticationError

from fednnunet.federation.engines.network.exchange import FOLDER, Desk
from fednnunet.federation.engines.network.flare import keeper as module
from fednnunet.federation.engines.network.flare.keeper import Keeper


class Session:
    """NVFlare's admin: which sites are connected, which jobs were submitted and how they stand."""

    def __init__(self, *connected: str) -> None:
        self.connected = {site: time.time() for site in connected}
        self.jobs: dict[str, str] = {}
        self.disabled: list[str] = []
        self.aborted: list[str] = []

    def get_connected_client_list(self) -> list[Any]:
        return [
            SimpleNamespace(name=name, last_connect_time=heard)
            for name, heard in self.connected.items()
        ]

    def submit_job(self, folder: str) -> str:
        assert (Path(folder) / "meta.json").is_file()
        name = f"job-{len(self.jobs) + 1}"
        self.jobs[name] = "RUNNING"
        return name

    def get_job_status(self, name: str) -> str:
        return self.jobs[name]

    def disable_client(self, name: str) -> None:
        self.disabled.append(name)

    def abort_job(self, name: str) -> None:
        self.aborted.append(name)
        self.jobs[name] = "FINISHED:ABORTED"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock of which `clock[0]` is the time, and which sleeping moves."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    return now


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path / FOLDER)
    found.clear()
    return found


def a_keeper(desk: Desk, session: Session) -> Keeper:
    return Keeper(desk=desk, admin_kit=Path("admin"), session=session)  # type: ignore[arg-type]


def test_without_questions_there_is_no_job_and_no_connection(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **named: object) -> None:
        raise AssertionError("nothing is awaited")

    monkeypatch.setattr(module, "new_secure_session", refuse)
    keeper = Keeper(desk=desk, admin_kit=Path("admin"))
    keeper.step()
    assert keeper.session is None and not keeper.job


def test_a_job_begins_once_all_awaited_sites_are_there(desk: Desk, clock: list[float]) -> None:
    session = Session("a")
    keeper = a_keeper(desk, session)
    desk.want(frozenset("ab"))
    keeper.step()
    assert not session.jobs
    session.connected["b"] = time.time()
    keeper.step()
    keeper.step()
    assert list(session.jobs) == ["job-1"]


def test_a_job_begins_without_a_site_that_stays_away(desk: Desk, clock: list[float]) -> None:
    session = Session("a")
    session.connected["b"] = time.time() - 3600  # it was there an hour ago
    keeper = a_keeper(desk, session)
    desk.want(frozenset("ab"))
    keeper.step()
    clock[0] += module._GATHER_S + 1
    keeper.step()
    assert list(session.jobs) == ["job-1"]


def test_no_job_begins_while_no_awaited_site_is_there(desk: Desk, clock: list[float]) -> None:
    session = Session("c")
    keeper = a_keeper(desk, session)
    desk.want(frozenset("ab"))
    keeper.step()
    clock[0] += module._GATHER_S + 1
    keeper.step()
    assert not session.jobs


@pytest.mark.parametrize("status", ["FINISHED:COMPLETED", "FAILED_TO_RUN", "ABANDONED"])
def test_another_job_follows_one_that_ended(desk: Desk, clock: list[float], status: str) -> None:
    session = Session("a")
    keeper = a_keeper(desk, session)
    desk.want(frozenset("a"))
    keeper.step()
    session.jobs["job-1"] = status
    keeper.step()
    assert list(session.jobs) == ["job-1", "job-2"]


def test_a_site_that_came_late_gets_a_job_of_its_own(desk: Desk, clock: list[float]) -> None:
    session = Session("a")
    keeper = a_keeper(desk, session)
    desk.want(frozenset("a"))
    keeper.step()
    desk.touch("a")
    session.connected["b"] = time.time()
    desk.want(frozenset("ab"))
    keeper.step()
    assert not session.aborted  # it may yet ask
    clock[0] += module._SETTLE_S + 1
    keeper.step()
    assert desk.closing.exists() and session.aborted == ["job-1"]
    keeper.step()
    assert list(session.jobs) == ["job-1", "job-2"]
    assert not desk.closing.exists()


def test_a_slow_machine_is_given_time_to_start_its_process(desk: Desk, clock: list[float]) -> None:
    session = Session("a", "b")
    keeper = a_keeper(desk, session)
    desk.want(frozenset("ab"))
    keeper.step()
    for _ in range(100):  # `a` asks, and the process of `b` is not there yet
        desk.touch("a")
        keeper.step()
        clock[0] += 1
    assert list(session.jobs) == ["job-1"] and not session.aborted
    clock[0] += module._START_S
    keeper.step()
    assert session.aborted == ["job-1"]


def test_a_short_cut_of_the_network_ends_no_job(desk: Desk, clock: list[float]) -> None:
    session = Session("a", "b")
    keeper = a_keeper(desk, session)
    desk.want(frozenset("ab"))
    keeper.step()
    clock[0] += module._SETTLE_S + 1
    for site in "ab":
        desk.touch(site)
    keeper.step()
    (desk.root / "alive" / "b").unlink()  # as if its last question were long ago
    keeper.step()
    clock[0] += module._LOST_S - 1
    keeper.step()
    assert not session.aborted
    desk.touch("b")
    keeper.step()
    (desk.root / "alive" / "b").unlink()
    keeper.step()
    clock[0] += module._LOST_S - 1
    keeper.step()
    assert not session.aborted  # it had asked in between
    clock[0] += 2
    keeper.step()
    assert session.aborted == ["job-1"]


def test_one_site_does_not_end_job_after_job(desk: Desk, clock: list[float]) -> None:
    session = Session("a", "b")
    keeper = a_keeper(desk, session)
    desk.want(frozenset("ab"))
    for _ in range(400):  # 200 s in which `b` is connected and never asks
        desk.touch("a")
        keeper.step()
        clock[0] += 0.5
    assert len(session.jobs) <= 4
    for _ in range(200):  # 100 s in which both take part, after one job more at most
        for site in "ab":
            desk.touch(site)
        keeper.step()
        clock[0] += 0.5
    assert len(session.jobs) <= 5 and list(session.jobs.values())[-1] == "RUNNING"


def test_a_revoked_site_is_told_off_once(desk: Desk, clock: list[float]) -> None:
    session = Session("a", "b")
    keeper = a_keeper(desk, session)
    desk.want(frozenset("a"))
    desk.revoked_list.write_text("b")
    keeper.step()
    keeper.step()
    assert session.disabled == ["b"]


def test_a_refused_admin_is_a_problem_of_the_coordinators_staff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [OSError("no answer yet"), AuthenticationError("not valid")]

    def refuse(*args: object, **named: object) -> None:
        raise faults.pop(0)

    monkeypatch.setattr(module, "end_with_parent", queue.Queue)
    monkeypatch.setattr(module, "new_secure_session", refuse)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    desk = Desk(tmp_path / FOLDER)
    desk.clear()
    desk.want(frozenset("a"))
    assert module.main([str(tmp_path), str(tmp_path / "admin")]) == 1
    assert not faults  # the first fault is waited out
    assert "the admin's kit is refused: not valid" in desk.problem.read_text()
