"""Plan, train, predict and evaluate by the commands, and what crossed the sites' walls."""

from __future__ import annotations

import csv
import hashlib
import json

import torch

from fednnunet import io
from fednnunet.commands import evaluate, predict
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.wire import chain
from fednnunet.federation.wire.messages import TrainReply
from fednnunet.federation.workflows.train import SCORES
from fednnunet.inference.bundle import read_bundle
from tests.end_to_end.tiny import CASES

METHOD = METHODS["fedbn_head"]


def test_planning_and_training_leave_all_that_they_promise(trained):
    run = trained.run
    for name in ("fingerprint.json", "plan.json", "why.md", "history.csv", "report.html", SCORES):
        assert (run / name).stat().st_size > 0, name
    assert {path.name for path in (run / "rounds").glob("*.json")} == {
        "0001.json",
        "0002.json",
        "0003.json",
    }
    rows = list(csv.DictReader((run / "history.csv").open()))
    assert [(row["round"], row["phase"], row["site"]) for row in rows] == [
        (round_, phase, site)
        for round_, phase in (("1", "joint"), ("2", "joint"), ("3", "public"))
        for site in ("north", "south")
    ]


def test_masks_are_on_the_grid_of_their_images_and_are_scored(trained, tmp_path):
    south, masks = trained.federation.parent / "south", tmp_path / "masks"
    command = [str(trained.run / "global"), "-i", str(south / "imagesTr"), "-o", str(masks)]
    assert predict.main(command) == 0
    for path in sorted((south / "labelsTr").iterdir()):
        mask, reference = io.read_label(masks / path.name), io.read_label(path)
        assert mask.array.shape == reference.array.shape
        assert mask.geometry.agrees_with(reference.geometry)
    assert evaluate.main([str(masks), str(south / "labelsTr")]) == 0
    rows = list(csv.DictReader((masks / "scores.csv").open()))
    assert {row["case"] for row in rows} == {f"case_{number}" for number in range(CASES)}


def test_a_personal_model_can_be_used_like_the_global_one(trained, tmp_path):
    images = trained.federation.parent / "north" / "imagesTr"
    bundle = trained.run / "sites" / "north" / "personal"
    assert predict.main([str(bundle), "-i", str(images), "-o", str(tmp_path / "masks")]) == 0
    assert len(list((tmp_path / "masks").glob("*.nii.gz"))) == CASES


def test_the_ledger_lists_every_message_that_left_with_its_checksum(trained):
    for site in ("north", "south", "west"):
        listed = chain.read(trained.run / "sites" / site / "ledger.jsonl")
        assert [entry["message"] for entry in listed[:2]] == ["FingerprintReply", "ShapesReply"]
        sent = [(data, message) for name, data, message in trained.sent if name == site]
        assert [(entry["message"], entry["bytes"], entry["sha256"]) for entry in listed[2:]] == [
            (type(message).__name__, len(data), hashlib.sha256(data).hexdigest())
            for data, message in sent
        ]
        assert all(entry["what"] for entry in listed)


def test_personal_models_differ_in_private_tensors_and_share_the_rest(trained):
    whole = read_bundle(trained.run / "global").weights
    own = {
        site: read_bundle(trained.run / "sites" / site / "personal").weights
        for site in ("north", "south")
    }
    private, shared = METHOD.private(whole), METHOD.shared(whole)
    assert private
    assert shared
    for site in own:
        assert own[site].keys() == whole.keys()
        assert all(torch.equal(own[site][name], whole[name]) for name in shared), site
    assert [n for n in private if torch.equal(own["north"][n], own["south"][n])] == []


def test_private_tensors_are_in_no_reply_of_the_rounds(trained):
    """By name, and by value: no private tensor of a site's model is anywhere in its bytes."""
    rounds = [(s, d, m) for s, d, m in trained.sent if isinstance(m, TrainReply)]
    assert len(rounds) == 2 * 3
    for site, data, message in rounds:
        own = read_bundle(trained.run / "sites" / site / "personal").weights
        closing = message.round == 2
        if not closing:
            assert message.tensors.keys() == METHOD.shared(own).keys()
        for name, tensor in METHOD.private(own).items():
            assert tensor.numpy().tobytes() not in data, (site, name, closing)


def test_a_site_that_does_not_train_only_judges_the_global_model(trained):
    west = trained.run / "sites" / "west"
    sent = {type(message).__name__ for site, _, message in trained.sent if site == "west"}
    assert sent == {"PrepareReply", "EvaluateReply"}
    assert not (west / "personal").exists()
    scores = json.loads((trained.run / SCORES).read_text())
    by_model = {model["model"]: model["sites"] for model in scores["models"]}
    assert set(by_model["global"]) == {"north", "south", "west"}
    assert set(by_model["personal"]) == {"north", "south"}
    assert by_model["global"]["west"]["cases"] == CASES
    assert scores["training_cases"]["west"] == 0
