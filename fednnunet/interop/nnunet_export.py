"""Write bundles as a trained model of nnU-Net v2: a folder, or a zip that nnU-Net installs.

`nnUNetv2_predict_from_modelfolder -m FOLDER -f 0` predicts with the folder, and
`nnUNetv2_install_pretrained_model_from_zip` takes the zip.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fednnunet.errors import InputError
from fednnunet.files import replacing, storing
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.ensemble import check_bundles
from fednnunet.interop.nnunet_description import PLANS_NAME, Description, describe
from fednnunet.interop.nnunet_names import to_nnunet

CHECKPOINT = "checkpoint_final.pth"
PLANS, DATASET, FINGERPRINT = "plans.json", "dataset.json", "dataset_fingerprint.json"
DATASET_ID = 900
"""Number in the name of an exported data set, unless another is given; nnU-Net has 1 to 999."""
_DATASET_NAME = re.compile(r"Dataset\d{3}_[A-Za-z0-9_.-]+")
_TRAINERS = {True: "nnUNetTrainer", False: "nnUNetTrainerNoMirroring"}  # by what was trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written, and how nnU-Net calls it."""

    path: Path
    """The folder or zip."""
    dataset: str
    """nnU-Net's name of the data set."""
    trainer: str
    """nnU-Net's trainer: with mirroring or without."""
    configuration: str
    """Name of the configuration."""
    folds: int
    """Number of networks; nnU-Net counts them from 0."""
    notes: tuple[str, ...]
    """What a user of nnU-Net should know."""


def export_nnunet(
    bundles: Sequence[Bundle], output: Path, *, dataset_id: int = DATASET_ID
) -> Exported:
    """Write bundles of one plan as the folds of one model, to a new folder or to a `.zip`.

    Nothing is at `output` until all of it is there. Raises InputError for a bundle of experts, for
    bundles of several plans, and where `output` exists; PlanError for a plan that nnU-Net cannot
    follow.
    """
    check_bundles(bundles, mirror=False)
    _check_bundles(bundles, output, dataset_id)
    first = bundles[0]
    dataset = _dataset_name(first.plan.task.name, dataset_id)
    description = describe(first.plan, dataset=dataset)
    trainer = _TRAINERS[all(bundle.mirrored for bundle in bundles)]
    exported = Exported(
        path=output,
        dataset=dataset,
        trainer=trainer,
        configuration=first.configuration,
        folds=len(bundles),
        notes=(*description.notes, *_postprocessing_notes(bundles)),
    )
    if output.suffix == ".zip":
        _write_zip(bundles, description, exported)
    else:
        _write_folder(bundles, description, exported)
    return exported


def _check_bundles(bundles: Sequence[Bundle], output: Path, dataset_id: int) -> None:
    if any(bundle.experts for bundle in bundles):
        raise InputError(
            "a bundle of experts mixes its networks for each case, which nnU-Net cannot",
            mend="export the global or a personal bundle",
        )
    if not 1 <= dataset_id <= 999:
        raise InputError(f"a data set has the number {dataset_id}", mend="give one from 1 to 999")
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise InputError(
            f"{output.name} is there already",
            where=str(output),
            mend="name a folder or zip that is not there yet",
        )


def _postprocessing_notes(bundles: Sequence[Bundle]) -> tuple[str, ...]:
    """What is lost of the post-processing, which nnU-Net reads from no checkpoint."""
    rules = [bundle.postprocessing for bundle in bundles]
    if not any(rules):
        return ()
    if any(rule != rules[0] for rule in rules):
        kept = "each bundle keeps other components"
    else:
        kept = "this bundle keeps: " + "; ".join(rules[0].words(bundles[0].plan.task))
    return (f"masks of nnU-Net are not post-processed; {kept}",)


def _dataset_name(task: str, dataset_id: int) -> str:
    """The task's name if it is one of nnU-Net's, else one made of it and the number."""
    if _DATASET_NAME.fullmatch(task):
        return task
    words = re.sub(r"[^A-Za-z0-9-]+", "_", task).strip("_") or "task"
    return f"Dataset{dataset_id:03d}_{words}"


def _write_folder(bundles: Sequence[Bundle], description: Description, exported: Exported) -> None:
    output = exported.path
    temporary = output.with_name(f".tmp-{os.getpid()}-{output.name}")
    with storing(output, temporary):
        temporary.mkdir(parents=True)
        for name, content in _texts(description):
            (temporary / name).write_text(content, encoding="utf-8")
        for fold, bundle in enumerate(bundles):
            (temporary / f"fold_{fold}").mkdir()
            path = temporary / f"fold_{fold}" / CHECKPOINT
            torch.save(_checkpoint(bundle, fold, description, exported.trainer), path)
        os.replace(temporary, output)


def _write_zip(bundles: Sequence[Bundle], description: Description, exported: Exported) -> None:
    root = f"{exported.dataset}/{exported.trainer}__{PLANS_NAME}__{exported.configuration}"
    with replacing(exported.path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in _texts(description):
            archive.writestr(f"{root}/{name}", content)
        for fold, bundle in enumerate(bundles):
            with archive.open(f"{root}/fold_{fold}/{CHECKPOINT}", "w", force_zip64=True) as stream:
                torch.save(_checkpoint(bundle, fold, description, exported.trainer), stream)


def _texts(description: Description) -> tuple[tuple[str, str], ...]:
    """The JSON files by name."""
    contents = (
        (PLANS, description.plans),
        (DATASET, description.dataset),
        (FINGERPRINT, description.fingerprint),
    )
    return tuple((name, json.dumps(content, indent=4) + "\n") for name, content in contents)


def _checkpoint(
    bundle: Bundle, fold: int, description: Description, trainer: str
) -> dict[str, Any]:
    """What nnU-Net's trainer saves, without an optimiser; plain values and tensors only."""
    axes = tuple(range(len(bundle.settings.patch_vox)))
    return {
        "network_weights": to_nnunet(bundle.weights, bundle.settings.architecture),
        "optimizer_state": None,
        "grad_scaler_state": None,
        "logging": {},
        "_best_ema": None,
        "current_epoch": 0,
        "init_args": {
            "plans": description.plans,
            "configuration": bundle.configuration,
            "fold": fold,
            "dataset_json": description.dataset,
        },
        "trainer_name": trainer,
        "inference_allowed_mirroring_axes": axes if bundle.mirrored else None,
    }
