"""fednnunet_export: write a bundle as a model of nnU-Net v2, or as an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.text import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_export."""

    bundle: Annotated[str, Opt(positional=True)]
    """bundle folder; several of one run, separated by commas, become folds"""
    output: Annotated[Path, Opt(short="-o")]
    """new folder, or a file: .zip for nnU-Net to install, .onnx for onnx"""
    to: Literal["nnunet", "onnx"] = "nnunet"
    """a trained model for nnUNetv2_predict_from_modelfolder, or a file for onnxruntime"""
    dataset_id: int = 900
    """number of nnU-Net's data set, 1 to 999"""


def main(argv: Sequence[str] | None = None) -> int:
    """Export, and print the command that predicts with the result."""
    options = parse(Options, argv, prog="fednnunet_export", about=__doc__ or "")
    return run_command(lambda: _export(options))


def _export(options: Options) -> None:
    from fednnunet.api.interop import export_model

    check_output(options.output.parent)
    exported = export_model(
        [name for name in options.bundle.split(",") if name],
        options.output,
        to=options.to,
        dataset_id=options.dataset_id,
    )
    console = PlainConsole(highlight=False, soft_wrap=True)
    if exported is None:
        console.print(f"written to {options.output}; predict as examples/predict_onnx.py does")
        return
    console.print(f"{plural(exported.folds, 'fold')} written to {options.output}")
    folds = " ".join(map(str, range(exported.folds)))
    if options.output.suffix == ".zip":
        console.print(
            f"nnU-Net: nnUNetv2_install_pretrained_model_from_zip {options.output} && "
            f"nnUNetv2_predict -d {exported.dataset} -tr {exported.trainer} "
            f"-c {exported.configuration} -f {folds} -i IMAGES -o MASKS"
        )
    else:
        console.print(
            f"nnU-Net: nnUNetv2_predict_from_modelfolder -m {options.output} -f {folds} "
            "-i IMAGES -o MASKS"
        )
    for note in exported.notes:
        console.print(f"note: {note}")
