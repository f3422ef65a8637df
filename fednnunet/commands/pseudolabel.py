"""fednnunet_pseudolabel: label a folder with a trained model, for a reader to accept or reject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.dataset import Case, list_images, read_dataset
from fednnunet.errors import InputError, raise_all
from fednnunet.text import printable

if TYPE_CHECKING:
    from fednnunet.inference.bundle import Bundle

ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_pseudolabel."""

    bundle: Annotated[str, Opt(positional=True)]
    """bundle folder; several, separated by commas, form an ensemble"""
    input: Annotated[Path, Opt(short="-i")]
    """a site's folder, of which the cases without full labels are labelled; or a folder of images:
    case_0000.nii.gz, ..."""
    output: Annotated[Path, Opt(short="-o")]
    """folder for masks, uncertainty maps and review.html; it stays at the site"""
    accept: Path | None = None
    """the list that review.html saved: write OUTPUT/accepted, a copy of the site's folder in which
    these cases are pseudo-labelled"""
    everything: bool = False
    """also label the site's cases that have full labels"""
    mirror: bool = False
    """test-time augmentation by mirroring: 8 times the work; not for the recipe fast"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps"""
    overwrite: bool = False
    """also label cases that already have a mask"""


def main(argv: Sequence[str] | None = None) -> int:
    """Label the cases of a folder, or accept what was labelled; continues if interrupted."""
    options = parse(Options, argv, prog="fednnunet_pseudolabel", about=__doc__ or "")
    work = _label if options.accept is None else _accept
    return run_command(lambda: work(options), private=True)


def _label(options: Options) -> None:
    from fednnunet.inference.compute import choose_compute
    from fednnunet.inference.pseudolabel import PAGE, pseudolabel_cases

    check_output(options.output)
    bundles = _bundles(options)
    cases = _cases(options, bundles[0])
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=PlainConsole(stderr=True)) as bar:
        row = bar.add_task("labelling", total=len(cases))

        def show(done: int, total: int, what: str) -> None:
            text = printable(f"labelling {what}")
            bar.update(row, completed=done, total=total, description=text)

        outcome = pseudolabel_cases(
            bundles,
            cases,
            options.output,
            compute=choose_compute(options.device),
            mirror=options.mirror,
            overwrite=options.overwrite,
            progress=show,
        )
    kept = f", {len(outcome.kept)} already present" if outcome.kept else ""
    console = PlainConsole(highlight=False, soft_wrap=True)
    console.print(f"{len(outcome.written)} cases labelled{kept}")
    console.print(f"to review, at this site only: {options.output / PAGE}")
    raise_all("some cases could not be labelled", outcome.faults)


def _accept(options: Options) -> None:
    from fednnunet.commands.accept import write_accepted
    from fednnunet.evaluation.review import read_accepted
    from fednnunet.inference.predict import mask_path
    from fednnunet.inference.reviewed import read_digests

    if options.accept is None or not _is_site(options.input):
        raise InputError(
            f"{options.input.name} is not a site's folder, so nothing can be accepted into it",
            where=str(options.input),
            mend="give as -i the site's folder that was labelled, with its imagesTr",
        )
    bundles = _bundles(options)
    names = read_accepted(options.accept)
    cases = {case.name: case for case in _cases(options, bundles[0])}
    digests = read_digests(options.output)
    if digests.bundles != tuple(bundle.digest for bundle in bundles):
        raise InputError(
            "the folder holds pseudo-labels of another bundle",
            where=str(options.output),
            mend="name the bundle that made them",
        )
    missing = [
        name
        for name in names
        if name not in cases or not mask_path(options.output, cases[name]).is_file()
    ]
    if missing:
        raise InputError(
            f"there is no pseudo-label of {', '.join(missing)}",
            where=str(options.accept),
            mend="correct the names on the list, or label these cases first",
        )
    chosen = [(cases[name], mask_path(options.output, cases[name])) for name in names]
    folder, task = options.output / ACCEPTED, bundles[0].plan.task
    write_accepted(options.input, folder, chosen, task, origin=digests.source)
    PlainConsole(highlight=False, soft_wrap=True).print(
        f"{len(names)} cases accepted: {folder} is the site's folder to train with"
    )


def _bundles(options: Options) -> list[Bundle]:
    from fednnunet.inference.bundle import read_bundle

    bundles = [read_bundle(Path(name)) for name in options.bundle.split(",") if name]
    if not bundles:
        raise InputError("no bundle was given", mend="give at least one bundle")
    return bundles


def _cases(options: Options, bundle: Bundle) -> tuple[Case, ...]:
    """The cases to label: of a flat folder all, of a site's those without full labels."""
    task = bundle.plan.task
    if not _is_site(options.input):
        return list_images(options.input, len(task.channels))
    cases = read_dataset(options.input, task).cases
    if options.everything:
        return cases
    found = tuple(case for case in cases if case.labels.supervision.kind != "full")
    if not found:
        raise InputError(
            f"all cases of {options.input.name} have full labels",
            where=str(options.input),
            mend='say in its dataset.json which have not ("supervision"), or give --everything',
        )
    return found


def _is_site(folder: Path) -> bool:
    return (folder / "imagesTr").is_dir()
