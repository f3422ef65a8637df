"""The status page is made of the rounds on the disk and of what the exchange shows of the sites."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.commands import run_status
from fednnunet.commands.run_status import RunStatus, site_states
from fednnunet.federation.engines.network.exchange import FOLDER, Desk
from fednnunet.federation.spec import Federation, SiteSpec
from tests.commands.records_of_rounds import TASK, a_record

FEDERATION = Federation(task=TASK, sites={"north": SiteSpec(), "south": SiteSpec()})


def status_of(folder: Path) -> RunStatus:
    states = {"north": "connected", "south": "not connected"}
    return RunStatus(federation=FEDERATION, folder=folder, states=lambda: states)


def keep(folder: Path, number: int, **changes: object) -> None:
    records.write(a_record(number, **changes), folder / "rounds" / f"{number:04d}.json")


def test_before_the_first_round_the_sites_are_shown(tmp_path: Path) -> None:
    found = status_of(tmp_path).status()
    assert dict(found.facts)["round"] == "none is done yet"
    assert [(site.name, site.state, site.round) for site in found.sites] == [
        ("north", "connected", ""),
        ("south", "not connected", ""),
    ]
    assert not found.history


def test_figures_are_those_of_the_rounds(tmp_path: Path) -> None:
    row = replace(a_record().sites["north"], bytes_to_site=2**20, bytes_from_site=2**19)
    keep(tmp_path, 1, sites={"north": row, "south": row})
    keep(tmp_path, 2, sites={"north": row}, refused={"south": "late"}, seconds=60.0)
    found = status_of(tmp_path).status()
    facts = dict(found.facts)
    assert facts["round"] == "2 of 4" and facts["time left"] == "0:01:30"
    assert facts["sent to the sites"] == "3.0 MiB"
    assert facts["received from them"] == "1.5 MiB"
    north, south = found.sites
    assert (north.round, north.sent, north.dice) == ("2", "2.0 MiB", "0.500")
    assert (south.round, south.sent) == ("1", "1.0 MiB")
    newest = found.rounds[0]
    assert (newest.number, newest.answered, newest.without) == (2, "north", {"south": "late"})
    assert {(point.round, point.site) for point in found.history} == {
        (1, "north"),
        (1, "south"),
        (2, "north"),
    }


def test_a_page_serves_all_who_ask_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(run_status, "status_page", lambda status: made.append(status) or "page")
    monkeypatch.setattr(run_status.time, "monotonic", lambda: now[0])
    now = [100.0]
    status = status_of(tmp_path)
    assert status.page() == status.page() == "page" and len(made) == 1
    now[0] += run_status._FRESH_S
    status.page()
    assert len(made) == 2


def test_the_state_of_a_site_is_what_the_exchange_shows(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "kit" / FOLDER)
    desk.clear()
    desk.want(frozenset({"a", "b"}))
    desk.touch("a")
    desk.touch("c")
    desk.revoked_list.write_text("e")
    assert site_states(desk, "abcde") == {
        "a": "works on a request",
        "b": "awaited, not connected",
        "c": "connected",
        "d": "not connected",
        "e": "admitted no more",
    }
