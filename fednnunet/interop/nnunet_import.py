"""Take over a trained model of nnU-Net v2 as a bundle: from its folder, or from its zip."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fednnunet.errors import InputError, PlanError
from fednnunet.files import storing
from fednnunet.inference.bundle import Bundle, write_bundle
from fednnunet.interop.nnunet_archive import Model, find_models, take_out
from fednnunet.interop.nnunet_checkpoint import Checkpoint, read_checkpoint
from fednnunet.interop.nnunet_export import CHECKPOINT, DATASET, PLANS
from fednnunet.interop.nnunet_names import from_nnunet
from fednnunet.interop.nnunet_plans import read_trained_plan
from fednnunet.network.unet import build_network
from fednnunet.planning.plan import Plan
from fednnunet.text import choices, printable

KNOWN_TRAINERS = re.compile(
    r"nnUNetTrainer("
    r"_\d+epochs?(_NoMirroring)?|NoMirroring|_onlyMirror01(_\w+)?|"
    r"NoDA|DA5\w*|_noDummy2DDA|_DASegOrd0(_NoMirroring)?|"
    r"(CE|Dice|DiceCE|Topk10|DiceTopK10)Loss\w*|"
    r"(Adam|Adan|VanillaAdam)\w*|CosAnneal|_warmup|"
    r"_probabilisticOversampling\w*|NoDeepSupervision|Benchmark_5epochs\w*"
    r")?"
)
"""nnU-Net's own trainers that build the network of the plan and preprocess as it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Which of the models in a folder or zip, and of which trainer."""

    configuration: str = ""
    """Configuration, if there are models of several."""
    fold: str = ""
    """Fold: "0", "1", ... or "all"; by default every fold that is there."""
    checkpoint: str = CHECKPOINT
    """Name of the checkpoint's file."""
    trainer: str = ""
    """A trainer of somebody's own that is known to change neither network nor preprocessing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Imported:
    """The bundles that were written, by path, and what a user should know."""

    bundles: dict[Path, Bundle]
    notes: tuple[str, ...]


def import_nnunet(source: Path, output: Path, options: ImportOptions | None = None) -> Imported:
    """Write a bundle to the new folder `output`, or one for each of several folds below it.

    Nothing is at `output` until all of it is there. Raises InputError for a source that is damaged
    or not to be trusted, and PlanError for a network or preprocessing that is not ours.
    """
    options = options or ImportOptions()
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise InputError(
            f"{output.name} is there already",
            where=str(output),
            mend="name a folder that is not there yet",
        )
    model = _choose(find_models(source, options.checkpoint), options, source)
    temporary = output.with_name(f".tmp-{os.getpid()}-{output.name}")
    notes: list[str] = []
    bundles: dict[Path, Bundle] = {}
    with storing(output, temporary):
        temporary.mkdir(parents=True)
        for fold in model.folds:
            part = Path() if len(model.folds) == 1 else Path(f"fold_{fold}")
            with tempfile.TemporaryDirectory(dir=temporary) as unpacked:
                folder = take_out(source, model, fold, options.checkpoint, Path(unpacked))
                bundle, note = _write(folder, fold, options, temporary / part)
            bundles[output / part] = bundle
            notes += [note] if note and note not in notes else []
        os.replace(temporary, output)
    return Imported(bundles=bundles, notes=tuple(notes))


def _choose(models: Sequence[Model], options: ImportOptions, source: Path) -> Model:
    """The wanted model with the wanted folds."""
    of = {model.name.rpartition("__")[2]: model for model in models}
    if len(of) < len(models):
        raise InputError(
            f"{source.name} holds several models of one configuration",
            where=str(source),
            mend="give the folder of one: " + ", ".join(str(model.folder) for model in models),
        )
    if options.configuration and len(models) > 1 and options.configuration not in of:
        raise InputError(
            f"{source.name} has no model of {options.configuration}",
            where=str(source),
            mend=choices(options.configuration, of),
        )
    if not options.configuration and len(models) > 1:
        raise InputError(
            f"{source.name} holds models of {len(models)} configurations",
            where=str(source),
            mend=f"choose one with --configuration: {', '.join(of)}",
        )
    model = of[options.configuration] if len(models) > 1 else models[0]
    if options.fold and options.fold not in model.folds:
        raise InputError(
            f"{source.name} has no fold {options.fold}",
            where=str(source),
            mend=choices(options.fold, model.folds),
        )
    return Model(folder=model.folder, folds=(options.fold,)) if options.fold else model


def _write(folder: Path, fold: str, options: ImportOptions, target: Path) -> tuple[Bundle, str]:
    """Write the bundle of one fold; returns it with a note, or an empty one."""
    path = folder / f"fold_{fold}" / options.checkpoint
    checkpoint = read_checkpoint(path)
    _check_trainer(checkpoint, options, path)
    name = options.configuration or checkpoint.configuration
    if name != checkpoint.configuration:
        raise InputError(
            f"{path.name} was trained as {checkpoint.configuration}, not {name}",
            where=str(path),
            mend=f"import it with --configuration {checkpoint.configuration}, or without",
        )
    plan = read_trained_plan(folder / PLANS, folder / DATASET, name)
    _check_plan(plan, name, folder)
    settings = plan.configuration(name)
    network = build_network(
        settings.architecture,
        channels=len(plan.task.channels),
        heads=plan.task.heads,
        norm=plan.norm,
    )
    weights = from_nnunet(checkpoint.weights, network.state_dict(), settings.architecture)
    axes = len(settings.patch_vox)
    mirrored = set(checkpoint.mirror_axes) == set(range(axes))
    bundle = write_bundle(
        target,
        plan=plan,
        configuration=name,
        weights=weights,
        mirrored=mirrored,
        note={"method": "nnU-Net v2", "trainer": checkpoint.trainer, "fold": fold},
    )
    partly = bool(checkpoint.mirror_axes) and not mirrored
    note = "it was trained with mirroring along some axes only, so it predicts without --mirror"
    return bundle, note if partly else ""


def _check_trainer(checkpoint: Checkpoint, options: ImportOptions, path: Path) -> None:
    trainer = checkpoint.trainer
    if KNOWN_TRAINERS.fullmatch(trainer) or trainer == options.trainer:
        return
    raise InputError(
        f"the model was trained by {printable(trainer[:80])}, which may have another network or "
        "preprocessing than its plan says",
        where=str(path),
        mend=f"if it changes neither, import with --trainer {printable(trainer[:80])}; else "
        "predict with nnU-Net itself",
    )


def _check_plan(plan: Plan, name: str, folder: Path) -> None:
    if plan.configuration(name).previous:
        raise PlanError(
            f"{name} needs the prediction of another configuration, which this program cannot give",
            where=str(folder / PLANS),
            mend="import 3d_fullres, 3d_lowres or 2d of the same model",
        )
