"""A site's machine is lost in mid-training and comes back; another site is revoked meanwhile.

The coordinator is killed in `tests/scripts/test_kill_network.py`, among other faults.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fednnunet.commands import coordinate
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.engines.network.state import PAUSED
from tests.end_to_end.tiny import SPACINGS, TOML
from tests.federation.engines.network.conftest import make_network

pytestmark = [pytest.mark.network, pytest.mark.timeout(1500)]

ROUNDS = 7
FAULTS = TOML.replace("rounds = 2", f"rounds = {ROUNDS}").replace(
    "public_rounds = 1", "public_rounds = 0\nquorum = 1\ngrace_s = 6\nexchange_grace_s = 90"
)


def test_killed_machines_cost_no_more_than_their_rounds(
    local_network: ModuleType, script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    network = make_network(local_network, tmp_path, toml=FAULTS)
    run = tmp_path / "run"
    try:
        _run_with_faults(network, run)
    finally:
        network.close()
    found = load_records(run / "rounds")
    assert [record.round for record in found] == list(range(1, ROUNDS + 1))
    took_part = [sorted(record.sites) for record in found]
    assert ["north"] in took_part  # while south was away
    assert "south" in took_part[-1]  # and it came back
    replay = script("replay_rounds").replay
    assert replay(tmp_path / "reference", run, tmp_path / "replayed") == ()


def _run_with_faults(network: Any, run: Path) -> None:
    def taken(wanted: str, *others: str) -> bool:
        return any(
            wanted in record.sites and not any(o in record.sites for o in others)
            for record in load_records(run / "rounds")[before:]
        )

    before = 0
    network.start_coordinator(run)
    for site in SPACINGS:
        network.start_site(site, "--once")
    network.wait_for(lambda: taken("south"), 400, "a round with south")
    network.kill("south")
    before = len(load_records(run / "rounds"))
    network.wait_for(lambda: taken("north", "south"), 200, "a round without south")
    paused = network.work("north") / PAUSED
    paused.touch()  # so that rounds wait for south
    before = len(load_records(run / "rounds")) + 1
    network.start_site("south", "--once")
    network.wait_for(lambda: taken("south"), 400, "a round with south again")
    paused.unlink()
    kit, file = str(network.kits / "coordinator"), str(network.federation)
    assert coordinate.main([kit, file, "-o", str(run), "--revoke", "west"]) == 0
    assert network.wait("coordinator", 500) == 0, network.tail("coordinator")
    assert network.wait("west", 60) == 2
    assert "admits this site no more" in network.tail("west")
