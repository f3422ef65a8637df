"""What the staff of a site are shown: what left, what is done, load and time left."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
from rich.console import Console

from fednnunet.commands import site_watch
from fednnunet.commands.site_watch import load, time_left, watch
from fednnunet.cores import Cores
from fednnunet.federation.engines.network.kit import FEDERATION
from fednnunet.federation.engines.network.state import SiteState, write_state
from fednnunet.federation.site import ledger
from fednnunet.federation.site.ledger import About
from fednnunet.federation.wire import chain
from tests.commands.test_provision import BARE


def replies(*minutes: int, run: str = "") -> list[dict[str, object]]:
    return [
        {
            "message": "TrainReply",
            "run": run,
            "round": number,
            "time": f"2026-01-01T10:{minute:02d}:00+00:00",
        }
        for number, minute in enumerate(minutes)
    ]


def test_the_time_left_is_that_of_the_last_rounds() -> None:
    assert "not known yet" in time_left(replies(1), 10)
    assert time_left(replies(1, 3, 5), 10) == ("round 3 of at most 10 was answered, 0:14:00 left")
    assert time_left(replies(1, 3), 2).endswith("0:00:00 left")


def test_a_round_that_was_missed_and_another_run_do_not_mislead() -> None:
    entries = replies(0, 2, 4, 6)
    assert time_left([e for e in entries if e["round"] != 1], 5).endswith("0:02:00 left")
    assert "not known yet" in time_left([*entries, *replies(30, run="baselines/local")], 5)
    fault = {"message": "FaultReply", "run": "", "round": 9, "time": "2026-01-01T11:00:00+00:00"}
    assert time_left([*entries, fault], 5).startswith("round 4 of")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo '87, 12288, 24576'; echo '0, 0, 24576'", "GPU 1 0 %, 0.0 of 24.0 GiB"),
        ("echo 'no devices'", ""),
        ("exit 9", ""),
    ],
)
def test_load_is_that_of_cores_and_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(site_watch, "look", lambda: Cores(present=8, load=9.0, busy=2.51))
    found = load()
    assert found.startswith("CPU 2.5 of 8 cores")
    assert found.endswith(words) if words else "GPU" not in found


def test_what_left_and_what_is_done_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FEDERATION).write_text(BARE)
    work, shown = tmp_path / "work", io.StringIO()
    write_state(work, SiteState(contact=0.0, waiting=1, doing="prepare 2/4", trouble="no answer"))
    about = About(asked="PrepareInvite")
    ledger.record(work / chain.FILE, kind="X", words="two numbers", data=b"123", about=about)
    looks = [None, None]

    def sleep(seconds: float) -> None:
        if not looks:
            raise KeyboardInterrupt
        looks.pop()

    monkeypatch.setattr(site_watch, "load", lambda: "CPU 1.0 of 2 cores")
    monkeypatch.setattr(site_watch.time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        watch(tmp_path, work, Console(file=shown, width=300))
    told = shown.getvalue()
    assert told.count("left: two numbers, 3 bytes (asked: PrepareInvite)") == 1
    assert told.count("now: prepare 2/4; 1 requests wait") == 1  # nothing has changed since
    assert "no answer; CPU 1.0 of 2 cores; time left is not known yet" in told
