from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import pytest
import torch

from fednnunet.errors import InputError, PlanError
from fednnunet.evaluation.postprocess import Postprocessing
from fednnunet.inference.bundle import join_experts, write_bundle
from fednnunet.interop.nnunet_export import export_nnunet
from fednnunet.planning.plan import Resampling
from tests.interop.models import TASK, make_bundle, make_plan


def test_a_folder_is_a_trained_model(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_plan())
    exported = export_nnunet([bundle], tmp_path / "model", dataset_id=7)
    files = {p.relative_to(exported.path).as_posix() for p in exported.path.rglob("*.*")}
    jsons = {"plans.json", "dataset.json", "dataset_fingerprint.json"}
    assert files == jsons | {"fold_0/checkpoint_final.pth"}
    assert exported.dataset == "Dataset007_Knee_of_sites"
    plans = json.loads((exported.path / "plans.json").read_text())
    assert plans["dataset_name"] == exported.dataset
    saved = torch.load(exported.path / "fold_0" / "checkpoint_final.pth", weights_only=True)
    assert saved["trainer_name"] == "nnUNetTrainer"
    assert saved["init_args"]["plans"] == plans
    assert saved["init_args"]["configuration"] == "3d_fullres"
    assert saved["inference_allowed_mirroring_axes"] == (0, 1, 2)


def test_a_network_that_was_not_mirrored_says_so(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_plan("plain_2d"), mirrored=False)
    exported = export_nnunet([bundle], tmp_path / "model")
    saved = torch.load(exported.path / "fold_0" / "checkpoint_final.pth", weights_only=True)
    assert exported.trainer == saved["trainer_name"] == "nnUNetTrainerNoMirroring"
    assert saved["inference_allowed_mirroring_axes"] is None


def test_a_zip_has_the_folders_that_nnunet_installs(tmp_path: Path) -> None:
    plan = make_plan()
    bundles = [make_bundle(tmp_path / str(seed), plan, seed=seed) for seed in (0, 1)]
    exported = export_nnunet(bundles, tmp_path / "model.zip")
    root = "Dataset900_Knee_of_sites/nnUNetTrainer__nnUNetPlans__3d_fullres"
    with zipfile.ZipFile(exported.path) as archive:
        assert archive.testzip() is None
        assert {f"{root}/fold_{i}/checkpoint_final.pth" for i in (0, 1)} <= set(archive.namelist())
    assert exported.folds == 2


def test_a_lost_post_processing_is_noted(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "one", make_plan())
    plain = export_nnunet([bundle], tmp_path / "plain").notes
    assert not [note for note in plain if "post-processed" in note]
    rule = dataclasses.replace(bundle, postprocessing=Postprocessing(foreground=True))
    (note,) = set(export_nnunet([rule], tmp_path / "rule").notes) - set(plain)
    assert "not post-processed" in note and "only the largest component" in note
    (note,) = set(export_nnunet([rule, bundle], tmp_path / "both").notes) - set(plain)
    assert "other components" in note


def test_a_name_of_nnunet_is_kept(tmp_path: Path) -> None:
    named = make_plan(task=dataclasses.replace(TASK, name="Dataset004_Hippocampus"))
    exported = export_nnunet([make_bundle(tmp_path / "b", named)], tmp_path / "model")
    assert exported.dataset == "Dataset004_Hippocampus"


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_plan())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("")
    with pytest.raises(InputError, match="model is there already"):
        export_nnunet([bundle], tmp_path / "model")
    low = make_plan().configurations[0]
    changed = dataclasses.replace(low, resampling=Resampling(anisotropy=2.0))
    other = make_bundle(tmp_path / "other", make_plan(configurations=(changed,)))
    with pytest.raises(PlanError, match="thick"):
        export_nnunet([other], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".tmp-*"))


def test_what_nnunet_cannot_hold_is_refused(tmp_path: Path) -> None:
    plan = make_plan()
    bundle = make_bundle(tmp_path / "bundle", plan)
    experts = write_bundle(
        tmp_path / "experts",
        plan=plan,
        configuration="3d_fullres",
        weights=join_experts({"a": bundle.weights, "b": bundle.weights}),
    )
    with pytest.raises(InputError, match="bundle of experts"):
        export_nnunet([experts], tmp_path / "model")
    with pytest.raises(InputError, match="number 1000"):
        export_nnunet([bundle], tmp_path / "model", dataset_id=1000)
    two = make_bundle(tmp_path / "two", make_plan("plain_2d"))
    with pytest.raises(InputError, match="different plans"):
        export_nnunet([bundle, two], tmp_path / "model")
