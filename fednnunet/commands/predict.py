"""fednnunet_predict: predict masks for a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.errors import InputError, raise_all
from fednnunet.progress import Progress
from fednnunet.text import plural, printable

if TYPE_CHECKING:
    from fednnunet.inference.predict import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_predict."""

    bundle: Annotated[str, Opt(positional=True)]
    """bundle folder; several, separated by commas, form an ensemble"""
    input: Annotated[Path | None, Opt(short="-i")] = None
    """folder of images: case_0000.nii.gz, ...; with --dicom a folder of DICOM series"""
    output: Annotated[Path | None, Opt(short="-o")] = None
    """folder for the masks"""
    dicom: tuple[str, ...] = ()
    """the input is DICOM: also write masks as seg, labelmap (both DICOM-SEG) or rtstruct"""
    channels: tuple[str, ...] = ()
    """with --dicom and several channels: NAME=PATTERN,... of their series' descriptions"""
    card: bool = False
    """print the model card of the bundle and end"""
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
    return run_command(lambda: _predict(options), private=bool(options.dicom))


def _predict(options: Options) -> None:
    from fednnunet.api.predict import predict

    if options.card:
        _print_cards(options.bundle)
        return
    if options.input is None or options.output is None:
        raise InputError(
            "a folder of images (-i) and a folder for the masks (-o) are needed",
            mend="give both, or --card to print the model card",
        )
    check_output(options.output)
    console = PlainConsole(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeElapsedColumn(), console=console) as bar:
        row = bar.add_task("predicting", total=None)

        def show(done: int, total: int, what: str) -> None:
            bar.update(
                row, completed=done, total=total, description=printable(f"predicting {what}")
            )

        bundles = [name for name in options.bundle.split(",") if name]
        if options.dicom:
            outcome = _predict_dicom(bundles, options, show)
        else:
            outcome = predict(
                bundles,
                options.input,
                options.output,
                device=options.device,
                mirror=options.mirror,
                overwrite=options.overwrite,
                strict=options.strict,
                progress=show,
            )
    kept = f", {len(outcome.kept)} already present" if outcome.kept else ""
    out = PlainConsole(highlight=False, soft_wrap=True)
    number = plural(len(outcome.written), "mask")
    out.print(f"{number} written to {options.output}{kept}", markup=False)
    if outcome.warnings:
        out.print(f"{len(outcome.warnings)} not to be trusted, see predictions.json:", markup=False)
    for name, why in outcome.warnings.items():
        out.print(f"warning: {name}: {why}", markup=False)
    raise_all("some cases could not be predicted", outcome.faults)


def _predict_dicom(bundles: list[str], options: Options, show: Progress) -> Outcome:
    """Predict DICOM series, with the forms and channels of the options."""
    from fednnunet.api.predict_dicom import predict_dicom
    from fednnunet.inference.predict import PredictOptions
    from fednnunet.preprocess.dicom_cases import Channel

    parts = [text.partition("=") for text in options.channels]
    return predict_dicom(
        bundles,
        options.input or Path(),
        options.output or Path(),
        forms=options.dicom,
        channels=[Channel(name=name, pattern=pattern) for name, _, pattern in parts],
        device=options.device,
        options=PredictOptions(
            mirror=options.mirror, overwrite=options.overwrite, strict=options.strict
        ),
        progress=show,
    )


def _print_cards(bundles: str) -> None:
    """Print the model card of each bundle as Markdown."""
    from fednnunet.inference.card import card_text, read_card

    out = PlainConsole(highlight=False, soft_wrap=True)
    for name in filter(None, bundles.split(",")):
        out.print(card_text(read_card(Path(name))), markup=False)
