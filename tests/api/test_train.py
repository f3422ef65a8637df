"""Training a run folder from Python: the same scores again, and what is checked before it."""

from __future__ import annotations

from pathlib import Path

import pytest

import fednnunet
from fednnunet import records
from fednnunet.api import train as train_module
from fednnunet.errors import FedNNUNetError
from fednnunet.federation.spec import Federation


def test_training_again_gives_the_same_scores(run: Path) -> None:
    first = fednnunet.train(run, device="cpu")
    assert first == fednnunet.train(run)
    assert first.labels[0] == "global"


def test_the_device_replaces_that_of_the_file_for_this_call_only(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Federation] = []

    def remember(engine: object, federation: Federation, *args: object, **named: object) -> str:
        given.append(federation)
        return "scores"

    monkeypatch.setattr(train_module, "train_together", remember)
    monkeypatch.setattr(train_module, "check_runs", lambda *args: None)
    monkeypatch.setattr(train_module, "simulation_engine", lambda *args, **named: None)
    fednnunet.train(run, device="cuda:1")
    fednnunet.train(run)
    assert [federation.training.device for federation in given] == ["cuda:1", "cpu"]
    assert records.read(Federation, run / "federation.json").training.device == "cpu"


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FedNNUNetError):
        fednnunet.train(tmp_path)
