"""fednnunet_predict: predict masks for a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.dataset import list_images
from fednnunet.errors import raise_all
from fednnunet.text import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_predict."""

    bundle: Annotated[str, Opt(positional=True)]
    """bundle folder; several, separated by commas, form an ensemble"""
    input: Annotated[Path, Opt(short="-i")]
    """folder of images: case_0000.nii.gz, ..."""
    output: Annotated[Path, Opt(short="-o")]
    """folder for the masks"""
    mirror: bool = False
    """test-time augmentation by mirroring: 8 times the work; not for the recipe fast"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps"""
    overwrite: bool = False
    """also predict cases that already have a mask"""
    strict: bool = False
    """refuse a case that is unlike those of the training, instead of warning"""


def main(argv: Sequence[str] | None = None) -> int:
    """Predict every case of a folder; faults are reported at the end, with exit code 2."""
    options = parse(Options, argv, prog="fednnunet_predict", about=__doc__ or "")
    return run_command(lambda: _predict(options))


def _predict(options: Options) -> None:
    from fednnunet.inference.bundle import read_bundle
    from fednnunet.inference.compute import choose_compute
    from fednnunet.inference.predict import PredictOptions, predict_cases

    check_output(options.output)
    bundles = [read_bundle(Path(name)) for name in options.bundle.split(",") if name]
    compute = choose_compute(options.device)
    channels = len(bundles[0].plan.task.channels) if bundles else 1
    cases = list_images(options.input, channels)
    console = PlainConsole(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        row = bar.add_task("predicting", total=len(cases))

        def show(done: int, total: int, what: str) -> None:
            bar.update(
                row, completed=done, total=total, description=printable(f"predicting {what}")
            )

        outcome = predict_cases(
            bundles,
            cases,
            options.output,
            compute=compute,
            options=PredictOptions(
                mirror=options.mirror, overwrite=options.overwrite, strict=options.strict
            ),
            progress=show,
        )
    kept = f", {len(outcome.kept)} already present" if outcome.kept else ""
    out = PlainConsole(highlight=False, soft_wrap=True)
    number = "1 mask" if len(outcome.written) == 1 else f"{len(outcome.written)} masks"
    out.print(f"{number} written to {options.output}{kept}", markup=False)
    if outcome.warnings:
        out.print(f"{len(outcome.warnings)} not to be trusted, see predictions.json:", markup=False)
    for name, why in outcome.warnings.items():
        out.print(f"warning: {name}: {why}", markup=False)
    raise_all("some cases could not be predicted", outcome.faults)
