from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from fednnunet import records
from fednnunet.commands.plan_federation import (
    note_shares,
    note_what_left,
    plan_federation,
    policy_notes,
)
from fednnunet.errors import InputError
from fednnunet.federation.coordinator.stated import StatedCases
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.task import Task
from tests.federation.fakes import a_plan

TASK = Task(name="t", channels=("MRI",), labels=("background", "a"))


def a_federation(root: Path, **policies: str) -> Federation:
    for name, text in policies.items():
        (root / name).mkdir()
        (root / name / "site.toml").write_text(text)
    return Federation(task=TASK, sites={name: SiteSpec(folder=root / name) for name in policies})


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def test_only_sites_below_the_usual_limit_have_a_note(tmp_path):
    federation = a_federation(
        tmp_path, north="min_cases = 3", south="", west="min_cases = 1", east="min_cases = 9"
    )
    assert policy_notes(federation) == (
        "site north may share sums over only 3 cases (usual limit: 5)",
        "site west may share sums over a single case (usual limit: 5)",
    )


def test_the_share_of_each_site_in_the_fingerprint_is_shown(console):
    note_shares(StatedCases(cases={"b": 3000, "a": 1000}), console)
    assert console.file.getvalue().splitlines() == [
        "site a stated 1,000 cases: 25.0% of the fingerprint",
        "site b stated 3,000 cases: 75.0% of the fingerprint",
    ]


def test_the_bytes_of_the_last_two_messages_of_a_site_are_shown(tmp_path, console):
    folder = tmp_path / "run" / "sites" / "north"
    folder.mkdir(parents=True)
    lines = "".join(f'{{"bytes": {size}}}\n' for size in (5, 1000, 2000))
    (folder / "ledger.jsonl").write_text(lines)
    note_what_left(a_federation(tmp_path, north=""), tmp_path / "run", console)
    assert "site north sent 3,000 bytes of sums" in console.file.getvalue()


def a_file(root: Path) -> Path:
    (root / "north").mkdir()
    path = root / "federation.toml"
    path.write_text(
        '[task]\nname = "t"\nchannels = ["MRI"]\nlabels = ["background", "a"]\n'
        '[sites.north]\nfolder = "north"\n'
    )
    return path


def test_one_memory_for_all_sites_is_an_option_and_two_are_not(tmp_path, console):
    with pytest.raises(InputError, match="--memory-gib was given 2 values"):
        plan_federation(
            a_file(tmp_path), tmp_path / "run", planner=None, memory_gib=(8, 9), without=(),
            console=console,
        )  # fmt: skip


def test_a_run_folder_that_was_trained_keeps_its_plan(tmp_path, console, monkeypatch):
    from fednnunet.commands import plan_federation as module

    run = tmp_path / "run"
    (run / "rounds").mkdir(parents=True)
    records.write(a_plan(), run / "plan.json")
    other = type("Planned", (), {"plan": None})()
    monkeypatch.setattr(module, "simulation_engine", lambda *a, **k: None)
    monkeypatch.setattr(module, "plan_together", lambda *a, **k: other)
    options = {"planner": "cpu", "memory_gib": (4,), "without": (), "console": console}
    path = a_file(tmp_path)
    with pytest.raises(InputError, match="trained with another plan"):
        plan_federation(path, run, **options)
    other.plan = a_plan()
    federation, _ = plan_federation(path, run, **options)
    assert (federation.budget.planner, federation.budget.memory_gib) == ("cpu", 4)
