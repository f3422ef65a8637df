"""Write a bundle as one ONNX file, with all that a program needs to predict by it.

The graph maps tiles `image` (n, c, *patch) to `logits` (n, k, *patch), both float32, for any number
n of tiles. The metadata `fednnunet` is JSON (`Rules`): how to prepare an image and what the outputs
mean. `examples/predict_onnx.py` predicts with numpy and onnxruntime.
"""

from __future__ import annotations

import importlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.files import replacing
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.label_map import region_values
from fednnunet.planning.plan import Intensity, Resampling

KEY = "fednnunet"
_LARGEST = 2**31 - 1  # bytes of an ONNX file


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How to predict: axes are (z, y, x) after turning and transposing, as in `planning.plan`."""

    labels: tuple[str, ...]
    """Names of the values of a mask."""
    region_values: tuple[int, ...]
    """With regions, the value that each output writes where it is above 0, in this order; empty for
    a softmax over the labels."""
    orientation: str
    """Axis code to which images are turned, or "as stored"."""
    transpose: tuple[int, int, int]
    """Axes of a turned image in the order of the network."""
    spacing_mm: tuple[float, ...]
    """Voxel size; two values for a network of slices, whose first axis keeps its own."""
    patch_vox: tuple[int, ...]
    """Size of a tile."""
    normalisation: tuple[str, ...]
    """Of each channel."""
    use_mask: tuple[bool, ...]
    """Of each channel, whether z-score uses only voxels inside the nonzero mask."""
    intensity: tuple[Intensity, ...]
    """Foreground intensities of each channel, for CT."""
    resampling: Resampling
    """Orders of the splines."""
    mirrored: bool
    """Whether flips may be averaged."""


def rules_of(bundle: Bundle) -> Rules:
    """The rules of a bundle."""
    plan, settings = bundle.plan, bundle.settings
    return Rules(
        labels=plan.task.labels,
        region_values=region_values(plan.task),
        orientation=plan.orientation,
        transpose=plan.transpose,
        spacing_mm=settings.spacing_mm,
        patch_vox=settings.patch_vox,
        normalisation=settings.normalisation,
        use_mask=settings.use_mask,
        intensity=plan.intensity,
        resampling=settings.resampling,
        mirrored=bundle.mirrored,
    )


def export_onnx(bundle: Bundle, output: Path) -> None:
    """Write `output`, which ends with .onnx.

    Raises InputError where the packages of the extra `onnx` are missing, where `output` exists, for
    a bundle of experts, and for a network that is too large for one file.
    """
    onnx = _package("onnx")
    _package("onnxscript")  # torch's exporter needs it
    _check(bundle, output)
    channels, patch = len(bundle.plan.task.channels), bundle.settings.patch_vox
    example = torch.zeros(2, channels, *patch)
    tiles = torch.export.Dim("n", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter, about itself
        program = torch.onnx.export(
            bundle.network(),
            (example,),
            dynamo=True,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: tiles},),
            verbose=False,
        )
    if program is None:
        raise InputError("torch wrote no graph", mend="install the versions of constraints.txt")
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(records.encode(rules_of(bundle)))
    onnx.checker.check_model(model)
    with replacing(output) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise InputError(
            f"this needs the package {name}, which is not installed",
            mend="run: pip install 'fednnunet[onnx]'",
        ) from None


def _check(bundle: Bundle, output: Path) -> None:
    if bundle.experts:
        raise InputError(
            "a bundle of experts mixes its networks for each case, which one ONNX graph cannot",
            mend="export the global or a personal bundle",
        )
    if output.suffix != ".onnx":
        raise InputError(
            f"{output.name} does not end with .onnx",
            where=str(output),
            mend="name a file such as model.onnx",
        )
    if output.exists():
        raise InputError(
            f"{output.name} is there already",
            where=str(output),
            mend="name a file that is not there yet",
        )
    size = sum(tensor.numel() * tensor.element_size() for tensor in bundle.weights.values())
    if size > _LARGEST - (1 << 24):
        raise InputError(
            f"the network has {size / 2**30:.1f} GiB, an ONNX file less than 2",
            mend="export to nnU-Net, or train a smaller network",
        )
