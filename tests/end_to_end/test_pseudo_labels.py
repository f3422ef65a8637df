"""One hospital has labels, two have none: with pseudo-labels these teach, too."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fednnunet import records
from fednnunet.commands import train
from fednnunet.federation.site.site import Site
from fednnunet.federation.site.trainer import SiteTrainer
from fednnunet.federation.spec import Federation
from fednnunet.labels import pseudo
from fednnunet.labels.known import certain_labels, possible_labels
from fednnunet.labels.settings import PseudoLabels
from fednnunet.supervision import UNKNOWN
from fednnunet.task import Task
from fednnunet.training.state import CURRENT
from tests.end_to_end.interruption import Interruption
from tests.end_to_end.tiny import LABELS, TOML, make_federation, make_planned

PLAIN = (
    TOML.replace("trains = false\n", "")
    .replace("\nrounds = 2", "\nrounds = 3")
    .replace("fedbn_head", "fedavg")
)
SETTINGS = PseudoLabels(start=0.0, ramp_up=0.3, confidence=0.3, max_spread=1.0, carry=0.5)
TASK = Task(name="tiny", channels=("MRI",), labels=LABELS)


@pytest.fixture(autouse=True)
def _no_report(monkeypatch):
    monkeypatch.setattr(train, "report_run", lambda run: run / "report.html")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A planned federation of which north alone has labels, without pseudo-labels."""
    root = tmp_path_factory.mktemp("unlabelled")
    path = make_federation(root, toml=PLAIN)
    for site in ("south", "west"):
        forget_labels(root / site)
    make_planned(path, root / "run")
    return root


def forget_labels(folder: Path) -> None:
    shutil.rmtree(folder / "labelsTr")
    header = json.loads((folder / "dataset.json").read_text())
    header["supervision"] = {"default": {"kind": "none"}}
    (folder / "dataset.json").write_text(json.dumps(header))


def a_run(planned: Path, run: Path, settings: PseudoLabels | None) -> Path:
    """A copy of the planned run folder with these settings."""
    shutil.copytree(planned / "run", run)
    federation = records.read(Federation, run / "federation.json")
    training = replace(federation.training, pseudo_labels=settings)
    records.write(replace(federation, training=training), run / "federation.json")
    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "global" / "weights.safetensors")


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def test_pseudo_labels_change_the_model_and_never_what_is_known(planned, tmp_path, monkeypatch):
    seen = []
    real = pseudo.PseudoLabelling.complete

    def complete(self, state, batch, moment):
        found = real(self, state, batch, moment)
        seen.append(found)
        return found

    monkeypatch.setattr(pseudo.PseudoLabelling, "complete", complete)
    plain = a_run(planned, tmp_path / "plain", None)
    assert train.main([str(plain)]) == 0
    assert not seen
    run = a_run(planned, tmp_path / "pseudo", SETTINGS)
    assert train.main([str(run)]) == 0
    assert not same(weights(plain), weights(run))
    assert len(seen) == 2 * 3 * 2  # two sites, three rounds, two iterations
    labelled = 0
    for batch in seen:
        assert {supervision.kind for supervision in batch.supervision} == {"none"}
        certain = certain_labels(possible_labels(batch.labels, batch.supervision[0], TASK))
        for labels in batch.pseudo:
            known = certain != UNKNOWN
            assert torch.equal(labels[known], certain[known])
            labelled += int((labels[~known] != UNKNOWN).sum())
    assert labelled


def test_a_kill_in_between_changes_no_bit(planned, tmp_path, monkeypatch):
    whole = a_run(planned, tmp_path / "whole", SETTINGS)
    assert train.main([str(whole)]) == 0
    cut = a_run(planned, tmp_path / "cut", SETTINGS)
    with monkeypatch.context() as patch:
        hook = Interruption(SiteTrainer.train, 5, after=True)
        patch.setattr(SiteTrainer, "train", lambda *args, **named: hook(*args, **named))
        assert train.main([str(cut)]) == 130
    assert train.main([str(cut)]) == 0
    assert same(weights(whole), weights(cut))


def test_the_teacher_stays_at_the_site(planned, tmp_path, monkeypatch):
    sent: set[str] = set()
    real = Site.answer

    def answer(site, data):
        reply = real(site, data)
        header = json.loads(reply[8 : 8 + int.from_bytes(reply[:8], "little")])
        sent.update(header)
        return reply

    monkeypatch.setattr(Site, "answer", answer)
    run = a_run(planned, tmp_path / "run", SETTINGS)
    assert train.main([str(run)]) == 0
    states = [load_file(path) for path in run.rglob(f"south/**/{CURRENT}")]
    teacher = "memory.pseudo_labels/teacher/heads.0.weight"
    assert states and any(teacher in state for state in states)
    assert sent and not any("pseudo_labels" in name for name in sent)
