from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.inference.bundle import read_bundle
from fednnunet.interop.nnunet_export import export_nnunet
from fednnunet.interop.nnunet_import import KNOWN_TRAINERS, ImportOptions, import_nnunet
from tests.interop.models import (
    KINDS,
    REGIONS,
    edit_checkpoint,
    edit_json,
    make_bundle,
    make_plan,
)

NAME = "checkpoint_final.pth"


def saved(folder: Path, fold: int = 0) -> dict[str, torch.Tensor]:
    """The tensors of an exported checkpoint, by nnU-Net's names."""
    found = torch.load(folder / f"fold_{fold}" / NAME, weights_only=True)
    weights: dict[str, torch.Tensor] = found["network_weights"]
    return weights


@pytest.mark.parametrize("kind", KINDS)
def test_out_in_and_out_again_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_plan(kind))
    export_nnunet([bundle], tmp_path / "first")
    import_nnunet(tmp_path / "first", tmp_path / "in")
    back = read_bundle(tmp_path / "in")
    export_nnunet([back], tmp_path / "second")
    first, second = saved(tmp_path / "first"), saved(tmp_path / "second")
    assert first.keys() == second.keys()
    assert all(second[n].numpy().tobytes() == t.numpy().tobytes() for n, t in first.items())
    assert back.mirrored and back.settings == bundle.settings
    assert back.note == {"method": "nnU-Net v2", "trainer": "nnUNetTrainer", "fold": "0"}


def test_folds_of_a_zip_become_bundles(tmp_path: Path) -> None:
    plan = make_plan(task=REGIONS)
    bundles = [make_bundle(tmp_path / str(seed), plan, seed=seed) for seed in (0, 1)]
    export_nnunet(bundles, tmp_path / "model.zip")
    imported = import_nnunet(tmp_path / "model.zip", tmp_path / "in")
    assert list(imported.bundles) == [tmp_path / "in" / "fold_0", tmp_path / "in" / "fold_1"]
    for bundle, path in zip(bundles, imported.bundles, strict=True):
        weights = read_bundle(path).weights
        assert all(weights[name].equal(tensor) for name, tensor in bundle.weights.items())
    one = import_nnunet(tmp_path / "model.zip", tmp_path / "one", ImportOptions(fold="1"))
    assert list(one.bundles) == [tmp_path / "one"]
    assert read_bundle(tmp_path / "one").digest == read_bundle(tmp_path / "in/fold_1").digest


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a trained model."""
    bundle = make_bundle(tmp_path / "bundle", make_plan())
    return export_nnunet([bundle], tmp_path / "model").path


def set_network(name: str, value: Any) -> Callable[[Any], None]:
    def change(plans: Any) -> None:
        plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"][name] = value

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (set_network("conv_bias", False), "conv_bias False"),
        (set_network("features_per_stage", [4, 6, 8]), "does not fit its plan"),
        (
            lambda p: p.update(configurations={"2d": p["configurations"]["3d_fullres"]}),
            "no configuration '3d_fullres'",
        ),
        (
            lambda p: p["configurations"]["3d_fullres"]["architecture"].update(
                network_class_name="my.networks.Transformer"
            ),
            "the network Transformer is unknown",
        ),
    ],
)
def test_another_network_is_refused(
    change: Callable[[Any], None], what: str, model: Path, tmp_path: Path
) -> None:
    edit_json(model / "plans.json", change)
    with pytest.raises(FedNNUNetError, match=what) as caught:
        import_nnunet(model, tmp_path / "in")
    assert getattr(caught.value, "faults", ()) or (caught.value.mend and caught.value.where)
    assert not (tmp_path / "in").exists() and not list(tmp_path.glob(".tmp-*"))


def test_missing_parts_are_named(model: Path, tmp_path: Path) -> None:
    (model / "dataset.json").rename(tmp_path / "kept.json")
    with pytest.raises(InputError, match=r"dataset\.json is missing"):
        import_nnunet(model, tmp_path / "in")
    (model / "plans.json").unlink()
    with pytest.raises(InputError, match=r"there is no plans\.json"):
        import_nnunet(model, tmp_path / "in")
    assert not (tmp_path / "in").exists()


def test_a_trainer_of_somebody_else_must_be_named(model: Path, tmp_path: Path) -> None:
    edit_checkpoint(model / "fold_0" / NAME, lambda c: c.update(trainer_name="MyTrainer"))
    with pytest.raises(InputError, match="was trained by MyTrainer") as caught:
        import_nnunet(model, tmp_path / "in")
    assert "--trainer MyTrainer" in caught.value.mend
    imported = import_nnunet(model, tmp_path / "in", ImportOptions(trainer="MyTrainer"))
    assert imported.bundles[tmp_path / "in"].note["trainer"] == "MyTrainer"


@pytest.mark.parametrize(
    ("trainer", "known"),
    [
        ("nnUNetTrainer", True),
        ("nnUNetTrainer_250epochs", True),
        ("nnUNetTrainer_2000epochs_NoMirroring", True),
        ("nnUNetTrainerDA5_10epochs", True),
        ("nnUNetTrainerBN", False),
        ("nnUNet_Primus_M_Trainer", False),
        ("nnUNetTrainerMine", False),
    ],
)
def test_trainers_that_change_the_network_are_not_known(trainer: str, known: bool) -> None:
    assert bool(KNOWN_TRAINERS.fullmatch(trainer)) is known


def test_mirroring_along_some_axes_is_said(model: Path, tmp_path: Path) -> None:
    change = {"inference_allowed_mirroring_axes": (0, 1)}
    edit_checkpoint(model / "fold_0" / NAME, lambda c: c.update(change))
    imported = import_nnunet(model, tmp_path / "in")
    assert not imported.bundles[tmp_path / "in"].mirrored
    assert "some axes" in imported.notes[0]


def test_several_models_ask_which(model: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    for name in ("3d_fullres", "2d"):
        (both / f"T__P__{name}").mkdir(parents=True)
        for part in ("plans.json", "dataset.json"):
            (both / f"T__P__{name}" / part).write_bytes((model / part).read_bytes())
        (both / f"T__P__{name}" / "fold_0").mkdir()
        content = (model / "fold_0" / NAME).read_bytes()
        (both / f"T__P__{name}" / "fold_0" / NAME).write_bytes(content)
    with pytest.raises(InputError, match="models of 2 configurations") as caught:
        import_nnunet(both, tmp_path / "in")
    assert "--configuration: 2d, 3d_fullres" in caught.value.mend
    import_nnunet(both, tmp_path / "in", ImportOptions(configuration="3d_fullres"))
    with pytest.raises(InputError, match="trained as 3d_fullres, not 2d"):
        import_nnunet(both, tmp_path / "two", ImportOptions(configuration="2d"))
    with pytest.raises(InputError, match="no model of 3d_lowres"):
        import_nnunet(both, tmp_path / "two", ImportOptions(configuration="3d_lowres"))
    with pytest.raises(InputError, match="has no fold 4"):
        import_nnunet(model, tmp_path / "two", ImportOptions(fold="4"))
    with pytest.raises(InputError, match="in is there already"):
        import_nnunet(model, tmp_path / "in")


def test_a_cascade_is_refused(model: Path, tmp_path: Path) -> None:
    def change(plans: Any) -> None:
        plans["configurations"]["3d_fullres"]["previous_stage"] = "3d_lowres"

    edit_json(model / "plans.json", change)
    with pytest.raises(FedNNUNetError, match="needs the prediction of another"):
        import_nnunet(model, tmp_path / "in")
