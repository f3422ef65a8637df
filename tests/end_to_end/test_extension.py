"""A finished training of 3 rounds goes on to 4 by the same command, with the sites' approval."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fednnunet.commands import train
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.site import evaluation as site_evaluation
from fednnunet.federation.site.approval import FILE


def edit(path: Path, **training: object) -> None:
    content = json.loads(path.read_text())
    content["training"] |= training
    path.write_text(json.dumps(content))


@pytest.fixture
def three(planned, copy_of, monkeypatch) -> Path:
    """A run that has had 3 rounds."""
    monkeypatch.setattr(site_evaluation, "draw_case", lambda *args, **named: b"")
    monkeypatch.setattr(train, "report_run", lambda run: run / "report.html")
    run = copy_of(planned)
    edit(run / "federation.json", rounds=3, public_rounds=0, method="fedavg")
    assert train.main([str(run)]) == 0
    return run


def test_a_finished_training_is_extended(three, capsys):
    before = load_file(three / "global" / "weights.safetensors")
    done = [path.read_bytes() for path in sorted((three / "rounds").glob("*.json"))]
    edit(three / "federation.json", rounds=4)
    assert train.main([str(three)]) == 0
    assert "4 rounds in place of 3; done so far: 3" in capsys.readouterr().out
    after = load_file(three / "global" / "weights.safetensors")
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert [record.of for record in load_records(three / "rounds")] == [3, 3, 3, 4]
    assert [p.read_bytes() for p in sorted((three / "rounds").glob("*.json"))][:3] == done
    approved = [json.loads(p.read_text()) for p in (three / "sites").glob(f"*/{FILE}")]
    assert [each["rounds"] for each in approved] == [4, 4, 4]


def test_rounds_that_are_done_are_not_taken_back(three, capsys):
    edit(three / "federation.json", rounds=2)
    assert train.main([str(three)]) == 2
    assert "3 rounds are done" in capsys.readouterr().err
