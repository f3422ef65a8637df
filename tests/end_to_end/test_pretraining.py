"""Self-supervised rounds before the first labelled one, with a site without labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fednnunet.commands import train
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.site.trainer import SiteTrainer
from tests.end_to_end.interruption import Interruption
from tests.end_to_end.tiny import TOML, make_federation, make_planned, no_pictures


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planned federation: north has labels, south none, west does not train."""
    root = tmp_path_factory.mktemp("pretraining")
    text = TOML.replace("\nrounds = 2", "\nrounds = 1\npersonal_rounds = 1\npretraining_rounds = 2")
    path = make_federation(root, toml=text)
    shutil.rmtree(root / "south" / "labelsTr")
    header = json.loads((root / "south" / "dataset.json").read_text())
    header["supervision"] = {"default": {"kind": "none"}}
    (root / "south" / "dataset.json").write_text(json.dumps(header))
    make_planned(path, root / "run")
    return root


def a_run(planned: Path, run: Path) -> Path:
    shutil.copytree(planned / "run", run)
    return run


def weights(run: Path, bundle: str = "global") -> dict[str, torch.Tensor]:
    return load_file(run / bundle / "weights.safetensors")


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def test_they_come_first_and_can_be_resumed(
    planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_pictures():
        whole = a_run(planned, tmp_path / "whole")
        assert train.main([str(whole)]) == 0
        cut = a_run(planned, tmp_path / "cut")
        with monkeypatch.context() as patch:
            hook = Interruption(SiteTrainer.train, 3, after=True)
            patch.setattr(SiteTrainer, "train", lambda *args, **named: hook(*args, **named))
            assert train.main([str(cut)]) == 130
        assert train.main([str(cut)]) == 0
    found = load_records(whole / "rounds")
    assert [record.phase for record in found] == [
        "pretraining", "pretraining", "joint", "personal", "public",
    ]  # fmt: skip
    assert set(found[0].sites) == {"north", "south"} and found[0].sites["south"].loss is None
    assert found[0].shift > 0 and found[2].sites["north"].loss is not None
    for bundle in ("global", "sites/north/personal"):
        assert same(weights(whole, bundle), weights(cut, bundle))
