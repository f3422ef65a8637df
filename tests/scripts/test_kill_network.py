"""Runs with a fault each: which faults, when a run passes, and three of them over NVFlare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fednnunet import records
from tests.commands.records_of_rounds import a_record


@pytest.fixture(scope="module")
def kill_network(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("kill_network")


def outcome(kill_network: ModuleType, kind: str, **changes: Any) -> Any:
    fault = kill_network.Fault(kind=kind, site="north", after=1, delay_s=0.0, away_s=1.0)
    return replace(kill_network.Outcome(number=1, fault=fault), **changes)


def test_the_faults_follow_from_the_seed_and_are_of_all_kinds(kill_network: ModuleType) -> None:
    sites = ("north", "south")
    found = [kill_network.fault_of(number, 0, sites, 12) for number in range(40)]
    assert found == [kill_network.fault_of(number, 0, sites, 12) for number in range(40)]
    assert found != [kill_network.fault_of(number, 1, sites, 12) for number in range(40)]
    for kind in kill_network.KINDS:
        assert sum(fault.kind == kind for fault in found) == 10
    assert {fault.site for fault in found} == set(sites)
    assert {fault.silent for fault in found} == {True, False}
    assert all(1 <= fault.after <= 4 and fault.away_s <= 20 for fault in found)


def test_a_run_passes_in_time_and_with_the_right_weights(kill_network: ModuleType) -> None:
    limit = kill_network.SITE_LIMIT_S
    for kind, lost, passes in (
        ("machine", limit, True),
        ("machine", limit + 1, False),
        ("coordinator", 120.0, True),
        ("coordinator", 121.0, False),
    ):
        assert outcome(kill_network, kind, lost_s=lost).passed is passes
    assert not outcome(kill_network, "network", differs=("0002.safetensors",)).passed
    assert not outcome(kill_network, "network", problem="it has not ended").passed


def test_the_loss_is_counted_beyond_a_usual_round(kill_network: ModuleType, tmp_path: Path) -> None:
    for number, seconds in enumerate((90.0, 2.0, 4.0, 20.0, 3.0), start=1):
        sites = a_record().sites if number != 4 else {}
        record = a_record(number, seconds=seconds, sites=sites)
        records.write(record, tmp_path / "rounds" / f"{number:04d}.json")
    hit = (tmp_path / "rounds" / "0003.json").stat().st_mtime + 1e-6
    found = kill_network._measured(outcome(kill_network, "machine"), tmp_path, hit)
    assert (found.usual_s, found.lost_s) == (3.0, 17.0)  # the first round does not count
    assert (found.rounds, found.missed, found.came_back) == (5, 1, True)
    found = kill_network._measured(outcome(kill_network, "coordinator"), tmp_path, hit)
    assert found.lost_s == 0.0  # the next record came at once


def test_all_runs_are_summed_up(kill_network: ModuleType) -> None:
    good = outcome(kill_network, "network", lost_s=4.0, usual_s=1.0, rounds=6, came_back=True)
    bad = outcome(kill_network, "process", problem="exit 2: no\nroom")
    text = kill_network.summary([good, bad])
    assert "1 of 2 runs passed" in text and "network: 1 runs, lost at most 4.0 s" in text
    assert "FAILED: exit 2: no room" in kill_network.line_of(bad)
    assert kill_network.line_of(good).endswith("ok")


@pytest.fixture(scope="module")
def template(
    script: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    pytest.importorskip("nvflare", reason="pip install 'fednnunet[network]'")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("kill") / "template"
    yield script("faulty_network").make_template(folder, rounds=6)
    torch.set_num_threads(threads)


@pytest.mark.network
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("process", {"which": 3}),
        ("network", {"silent": True, "away_s": 8.0}),
        ("coordinator", {"which": 0}),
    ],
)
def test_a_run_with_a_fault_ends_with_the_weights_of_one_process(
    kill_network: ModuleType,
    template: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    changes: dict[str, Any],
) -> None:
    monkeypatch.setattr(kill_network, "_START_S", 250.0)
    monkeypatch.setattr(kill_network, "_END_S", 250.0)
    fault = replace(outcome(kill_network, kind).fault, delay_s=0.2, **changes)
    found = kill_network.one_run(0, fault, template, tmp_path / "run")
    assert found.passed, kill_network.line_of(found)
    assert found.rounds == 6
