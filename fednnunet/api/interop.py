"""Models out to other tools and in from them: nnU-Net v2 and ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fednnunet.api.predict import Bundles, load_bundles
from fednnunet.errors import InputError
from fednnunet.inference.bundle import Bundle
from fednnunet.interop.nnunet_export import DATASET_ID, Exported, export_nnunet
from fednnunet.interop.nnunet_import import Imported, ImportOptions, import_nnunet
from fednnunet.interop.onnx_export import export_onnx
from fednnunet.text import choices

FORMATS = ("nnunet", "onnx")


def export_model(
    bundles: Bundles,
    output: Path | str,
    *,
    to: str = "nnunet",
    dataset_id: int = DATASET_ID,
) -> Exported | None:
    """Write a bundle for another tool: `to` is nnunet or onnx.

    For nnU-Net v2 `output` is a folder for `nnUNetv2_predict_from_modelfolder`, or a `.zip` that
    nnU-Net installs; several bundles become its folds, and `dataset_id` numbers its data set. For
    ONNX, which needs the extra `onnx`, it is a file that ends with .onnx, of one bundle.
    """
    if to not in FORMATS:
        raise InputError(f"there is no format {to!r}", mend=choices(to, FORMATS))
    loaded = load_bundles(bundles)
    if to == "onnx":
        export_onnx(_single(loaded), Path(output))
        return None
    return export_nnunet(loaded, Path(output), dataset_id=dataset_id)


def import_model(
    source: Path | str,
    output: Path | str,
    *,
    configuration: str = "",
    fold: str = "",
    checkpoint: str = ImportOptions().checkpoint,
    trainer: str = "",
) -> Imported:
    """Write a trained model of nnU-Net v2, a folder or a zip, as a bundle at `output`.

    Several folds become a bundle each, below `output`. No code in the model is run. `trainer` names
    a trainer of somebody's own that changes neither the network nor the preprocessing.
    """
    options = ImportOptions(
        configuration=configuration, fold=fold, checkpoint=checkpoint, trainer=trainer
    )
    return import_nnunet(Path(source), Path(output), options)


def _single(bundles: Sequence[Bundle]) -> Bundle:
    if len(bundles) != 1:
        raise InputError(
            f"{len(bundles)} bundles were given, an ONNX file holds one",
            mend="export each to a file of its own",
        )
    return bundles[0]
