"""Training from a Python program: what it is told, and that being told changes no weight."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import fednnunet
from fednnunet import records
from fednnunet.api import train as train_module
from fednnunet.errors import FedNNUNetError
from fednnunet.federation.spec import Federation
from fednnunet.federation.workflows.lengths import RunLength
from tests.end_to_end.tiny import TOML, make_federation, make_planned

SHORT = TOML.replace('"fedbn_head"', '"fedavg"').replace("public_rounds = 1", "public_rounds = 0")


class Seen:
    """A watch that keeps what it sees."""

    def __init__(self) -> None:
        self.lengths: Sequence[RunLength] = ()
        self.iterations: list[tuple[str, int, int]] = []

    def begin(self, lengths: Sequence[RunLength]) -> None:
        self.lengths = lengths

    def iteration(self, site: str, done: int, total: int) -> None:
        self.iterations.append((site, done, total))


def test_a_watch_sees_every_iteration_and_changes_no_weight(tmp_path: Path) -> None:
    make_planned(make_federation(tmp_path / "hospitals", toml=SHORT), tmp_path / "run")
    other = shutil.copytree(tmp_path / "run", tmp_path / "other")
    seen, notes = Seen(), []
    fednnunet.train(tmp_path / "run", watch=seen, on_note=notes.append)
    a_round = [(site, done, 2) for site in ("north", "south") for done in (1, 2)]
    assert seen.iterations == a_round * 2
    assert [length.rounds for length in seen.lengths] == [(4, 4)]
    assert len(notes) == 1 and "CPU thread" in notes[0]
    fednnunet.train(other)
    one, two = (load_file(r / "global" / "weights.safetensors") for r in (tmp_path / "run", other))
    assert all(torch.equal(one[name], two[name]) for name in one)


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
    monkeypatch.setattr(train_module, "check_runs", lambda *args: ())
    monkeypatch.setattr(train_module, "simulation_engine", lambda *args, **named: None)
    fednnunet.train(run, device="cuda:1")
    fednnunet.train(run)
    assert [federation.training.device for federation in given] == ["cuda:1", "cpu"]
    assert records.read(Federation, run / "federation.json").training.device == "cpu"


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FedNNUNetError):
        fednnunet.train(tmp_path)
