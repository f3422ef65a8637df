"""Planning from Python: what may be replaced, what is written, and what a trained run forbids."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import fednnunet
from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.federation.coordinator.stated import SITES as STATED
from fednnunet.federation.spec import Federation
from fednnunet.planning import figures
from fednnunet.planning.plan import read_plan
from tests.end_to_end.tiny import make_federation


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "draw_figures", lambda *args: ())


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_federation(tmp_path_factory.mktemp("hospitals"))


def test_the_run_folder_has_what_was_planned_and_why(federation: Path, tmp_path: Path) -> None:
    plan = fednnunet.plan(federation, tmp_path / "run")
    assert read_plan(tmp_path / "run" / "plan.json") == plan
    assert plan.planner == "cpu" and plan.cases == 15
    names = {path.name for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert {"federation.json", "fingerprint.json", "plan.json", "why.md", STATED} <= names


def test_the_budget_is_replaced_and_sites_are_left_out(federation: Path, tmp_path: Path) -> None:
    plan = fednnunet.plan(federation, tmp_path, planner="plain", memory_gib=6, without=["south"])
    assert plan.planner == "plain" and plan.cases == 10
    written = records.read(Federation, tmp_path / "federation.json")
    assert (written.budget.planner, written.budget.memory_gib) == ("plain", 6)
    assert set(written.sites) == {"north", "west"}
    assert not (tmp_path / "sites" / "south").exists()


def test_settings_without_effect_are_told(federation: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    fednnunet.plan(federation, tmp_path, memory_gib=6, on_note=notes.append)
    assert len(notes) == 1 and "memory_gib does not change it" in notes[0]


def test_a_trained_run_keeps_its_plan(federation: Path, tmp_path: Path) -> None:
    plan = fednnunet.plan(federation, tmp_path)
    (tmp_path / "rounds").mkdir()
    before = (tmp_path / "plan.json").read_bytes()
    fednnunet.plan(federation, tmp_path)  # the same plan again is no change
    assert (tmp_path / "plan.json").read_bytes() == before
    records.write(dataclasses.replace(plan, cases=99), tmp_path / "plan.json")
    with pytest.raises(InputError, match="trained with another plan"):
        fednnunet.plan(federation, tmp_path)
    assert read_plan(tmp_path / "plan.json").cases == 99
