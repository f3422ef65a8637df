"""fednnunet_predict: predict masks of a folder of images, of one image, or of DICOM series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.predict_bar import predict_bar
from fednnunet.errors import InputError, raise_all
from fednnunet.text import plural

if TYPE_CHECKING:
    from fednnunet.inference.predict import Outcome
    from fednnunet.preprocess.dicom_cases import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_predict."""

    bundle: Annotated[str, Opt(positional=True)]
    """bundle folder; several, separated by commas, form an ensemble"""
    input: Annotated[Path | None, Opt(short="-i")] = None
    """folder of images (case_0000.nii.gz, ...), one image, or a folder of DICOM series"""
    output: Annotated[Path | None, Opt(short="-o")] = None
    """folder for the masks"""
    weights: tuple[float, ...] = ()
    """weights of the bundles' votes, such as 2,1; without them all count alike"""
    dicom: tuple[str, ...] = ()
    """the input is DICOM: also write masks as seg, labelmap (both DICOM-SEG) or rtstruct"""
    channels: tuple[str, ...] = ()
    """for DICOM series and several channels: NAME=PATTERN,... of their series' descriptions"""
    card: bool = False
    """print the model card of the bundle and end"""
    mirror: bool = False
    """test-time augmentation by mirroring: 8 times the work; not for the recipe fast"""
    step: float = 0.5
    """distance of two tiles in patches, above 0 and at most 1; nnU-Net's is 0.5"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps"""
    memory_gib: float = 0.0
    """memory of the whole process to keep within; 0 is what the machine has free"""
    probabilities: Literal["none", "nifti", "npz"] = "none"
    """also write probabilities of all classes: 4D NIfTI, or npz as nnU-Net's"""
    uncertainty: bool = False
    """also write maps of the entropy, and of the spread over bundles and flips"""
    save_lowres: bool = False
    """also write the mask on the grid of the plan's spacing"""
    overwrite: bool = False
    """also predict cases that already have a mask"""
    strict: bool = False
    """refuse a case that is unlike those of the training, instead of warning"""


def main(argv: Sequence[str] | None = None) -> int:
    """Predict every case of the input; faults are reported at the end, with exit code 2."""
    options = parse(Options, argv, prog="fednnunet_predict", about=__doc__ or "")
    return run_command(lambda: _predict(options), private=True)


def _predict(options: Options) -> None:
    from fednnunet.api.predict import PredictOptions, predict
    from fednnunet.inference.inputs import is_dicom

    if options.card:
        _print_cards(options.bundle)
        return
    if options.input is None or options.output is None:
        raise InputError(
            "a folder of images (-i) and a folder for the masks (-o) are needed",
            mend="give both, or --card to print the model card",
        )
    check_output(options.output)
    bundles = [name for name in options.bundle.split(",") if name]
    how = PredictOptions(
        mirror=options.mirror,
        step=options.step,
        weights=options.weights,
        memory_gib=options.memory_gib,
        overwrite=options.overwrite,
        strict=options.strict,
        probabilities=options.probabilities,
        uncertainty=options.uncertainty,
        lowres=options.save_lowres,
    )
    places, device = (options.input, options.output), options.device
    with predict_bar(PlainConsole(stderr=True)) as bar:
        if options.dicom or is_dicom(options.input):
            from fednnunet.api.predict_dicom import predict_dicom

            channels = _channels(options.channels)
            outcome = predict_dicom(
                bundles,
                *places,
                forms=options.dicom,
                channels=channels,
                device=device,
                options=how,
                progress=bar,
            )
        else:
            outcome = predict(bundles, *places, device=device, options=how, progress=bar)
    _tell(outcome, options.output)


def _tell(outcome: Outcome, output: Path) -> None:
    kept = f", {len(outcome.kept)} already present" if outcome.kept else ""
    out = PlainConsole(highlight=False, soft_wrap=True)
    number = plural(len(outcome.written), "mask")
    out.print(f"{number} written to {output}{kept}", markup=False)
    if outcome.warnings:
        out.print(f"{len(outcome.warnings)} not to be trusted, see predictions.json:", markup=False)
    for name, why in outcome.warnings.items():
        out.print(f"warning: {name}: {why}", markup=False)
    raise_all("some cases could not be predicted", outcome.faults)


def _channels(given: Sequence[str]) -> list[Channel]:
    from fednnunet.preprocess.dicom_cases import Channel

    parts = [text.partition("=") for text in given]
    return [Channel(name=name, pattern=pattern) for name, _, pattern in parts]


def _print_cards(bundles: str) -> None:
    """Print the model card of each bundle as Markdown."""
    from fednnunet.inference.card import card_text, read_card

    out = PlainConsole(highlight=False, soft_wrap=True)
    for name in filter(None, bundles.split(",")):
        out.print(card_text(read_card(Path(name))), markup=False)
