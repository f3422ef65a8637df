"""A site that joins late, one that leaves, personal rounds, and pooled cases as a reference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fednnunet.commands import train
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.site.site import Site
from fednnunet.federation.workflows.train import SCORES
from tests.end_to_end.interruption import Interruption
from tests.end_to_end.tiny import no_pictures

METHOD = METHODS["fedbn_head"]
SETTINGS = {"rounds": 3, "personal_rounds": 2, "public_rounds": 1, "baselines": ["pooled"]}


@pytest.fixture(scope="module", autouse=True)
def _no_pictures():
    with no_pictures():
        yield


def prepared(planned: Path, run: Path) -> Path:
    """North leaves after two rounds, south joins in the second."""
    shutil.copytree(planned, run)
    content = json.loads((run / "federation.json").read_text())
    content["training"] |= SETTINGS
    content["sites"]["north"]["leaves"] = 2
    content["sites"]["south"]["joins"] = 2
    (run / "federation.json").write_text(json.dumps(content))
    return run


@pytest.fixture(scope="module")
def run(planned, tmp_path_factory) -> Path:
    run = prepared(planned, tmp_path_factory.mktemp("members") / "run")
    assert train.main([str(run)]) == 0
    return run


def network(run: Path, site: str, state: str) -> dict[str, torch.Tensor]:
    tensors = load_file(run / "sites" / site / "state" / state / "state.safetensors")
    return {n.removeprefix("network."): t for n, t in tensors.items() if n.startswith("network.")}


def equal(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_each_round_asks_its_members(run):
    rounds = [(record.phase, sorted(record.sites)) for record in load_records(run / "rounds")]
    assert rounds == [
        ("joint", ["north"]),
        ("joint", ["north", "south"]),
        ("joint", ["south"]),
        ("personal", ["south"]),
        ("personal", ["south"]),
        ("public", ["south"]),
    ]


def test_one_that_left_keeps_the_model_it_had_and_is_scored(run):
    personal = load_file(run / "sites" / "north" / "personal" / "weights.safetensors")
    assert equal(personal, network(run, "north", "round_0002"))
    models = {m["model"]: m for m in json.loads((run / SCORES).read_text())["models"]}
    assert set(models["personal"]["sites"]) == {"north", "south"}


def test_the_personal_model_is_what_the_personal_rounds_made(run):
    personal = load_file(run / "sites" / "south" / "personal" / "weights.safetensors")
    assert equal(personal, network(run, "south", "round_0005"))
    joint = load_file(run / "rounds" / "0006.safetensors")
    shared = {name: t for name, t in personal.items() if METHOD.is_shared(name)}
    assert not any(torch.equal(t, joint[f"shared/{name}"]) for name, t in shared.items())


def test_pooled_cases_are_trained_in_one_place_and_judged_everywhere(run):
    folder = run / "baselines" / "pooled"
    (site,) = {site for record in load_records(folder / "rounds") for site in record.sites}
    assert site == "pooled"
    records = load_records(folder / "rounds")
    assert len(records) == SETTINGS["rounds"] + SETTINGS["personal_rounds"]
    assert {record.sites["pooled"].cases for record in records} == {8}
    models = {m["model"]: m for m in json.loads((run / SCORES).read_text())["models"]}
    assert set(models["pooled"]["sites"]) == {"north", "south", "west"}
    assert (folder / "global" / "weights.safetensors").exists()
    assert list((folder / "state").iterdir())


@pytest.mark.parametrize("at", [6, 8, 9, 10])
def test_interrupted_in_any_phase_it_ends_with_the_same_weights(run, planned, tmp_path, at):
    again = prepared(planned, tmp_path / "run")
    hook = Interruption(Site.answer, at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Site, "answer", lambda site, data: hook(site, data))
        assert train.main([str(again)]) == 130
    assert train.main([str(again)]) == 0
    for bundle in ("global", "sites/north/personal", "sites/south/personal"):
        one, two = (load_file(r / bundle / "weights.safetensors") for r in (run, again))
        assert equal(one, two), bundle
