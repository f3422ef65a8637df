"""fednnunet_import: take over a trained model of nnU-Net v2 as a bundle.

No code in the model is run: a checkpoint with more than tensors and plain values is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.text import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_import."""

    source: Annotated[Path, Opt(positional=True)]
    """folder of a trained model (plans.json, dataset.json, fold_0), or nnU-Net's zip"""
    output: Annotated[Path, Opt(short="-o")]
    """new folder for the bundle, or for a bundle of each fold"""
    configuration: str = ""
    """configuration, such as 3d_fullres, where the source has several"""
    fold: str = ""
    """one fold, such as 0 or all; every fold that is there unless given"""
    checkpoint: str = "checkpoint_final.pth"
    """name of the checkpoint's file"""
    trainer: str = ""
    """name of a trainer of somebody's own, if it changes neither network nor preprocessing"""


def main(argv: Sequence[str] | None = None) -> int:
    """Import, and print how to predict and to train with the bundle."""
    options = parse(Options, argv, prog="fednnunet_import", about=__doc__ or "")
    return run_command(lambda: _import(options))


def _import(options: Options) -> None:
    from fednnunet.api.interop import import_model

    check_output(options.output.parent)
    imported = import_model(
        options.source,
        options.output,
        configuration=options.configuration,
        fold=options.fold,
        checkpoint=options.checkpoint,
        trainer=options.trainer,
    )
    console = PlainConsole(highlight=False, soft_wrap=True)
    console.print(f"{plural(len(imported.bundles), 'bundle')} written to {options.output}")
    together = ",".join(map(str, imported.bundles))
    console.print(f"predict: fednnunet_predict {together} -i IMAGES -o MASKS")
    console.print(f"train:   fednnunet_train RUN --from {next(iter(imported.bundles))}")
    for note in imported.notes:
        console.print(f"note: {note}")
