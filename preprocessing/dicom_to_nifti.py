"""Convert DICOM series with DICOM-SEG or RTSTRUCT segmentations into nnU-Net's raw layout.

    python preprocessing/dicom_to_nifti.py DICOM -o FOLDER --channels CT --labels liver,tumour
    python preprocessing/dicom_to_nifti.py DICOM -o FOLDER --channels CT --images-only

No file in FOLDER identifies a patient. The file FOLDER.mapping.json does, and stays at the site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.progress import bars
from fednnunet.errors import raise_all
from fednnunet.preprocess.dicom import Channel, Converted, convert_dicom


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the conversion."""

    folder: Annotated[Path, Opt(positional=True)]
    """folder of DICOM files, at any depth"""
    output: Annotated[Path, Opt(short="-o")]
    """folder for imagesTr, labelsTr and dataset.json"""
    channels: tuple[str, ...]
    """names of the channels; several with patterns of their series: T1=t1,T2=t2.*tse"""
    labels: tuple[str, ...] = ()
    """structures in the order of their label values; by default all"""
    images_only: bool = False
    """convert every image series into imagesTs, without label maps, to predict them"""
    prefix: str = "case"
    """beginning of the names of the cases"""
    mapping: Path | None = None
    """file that maps cases to patients; by default OUTPUT.mapping.json"""


def main(argv: Sequence[str] | None = None) -> int:
    """Convert a folder; exit code 2 if any series was refused."""
    options = parse(Options, argv, prog="dicom_to_nifti.py", about=__doc__ or "")
    return run_command(lambda: _convert(options), private=True)


def _convert(options: Options) -> None:
    console = PlainConsole(highlight=False, soft_wrap=True)
    out = options.output
    check_output(out)
    mapping = options.mapping or out.with_name(f"{out.name}.mapping.json")
    with bars(console) as progress:
        converted = convert_dicom(
            options.folder,
            out,
            mapping_path=mapping,
            channels=[_channel(text) for text in options.channels],
            labels=options.labels,
            prefix=options.prefix,
            images_only=options.images_only,
            progress=lambda done, total, what: progress(out.name, done, total, what),
        )
    _show(converted, out / "imagesTs" if options.images_only else out, mapping, console)
    raise_all("some series were not converted", converted.faults)


def _channel(text: str) -> Channel:
    name, _, pattern = text.partition("=")
    return Channel(name=name, pattern=pattern)


def _show(converted: Converted, out: Path, mapping: Path, console: Console) -> None:
    for note in converted.notes:
        console.print(note, markup=False)
    names = ", ".join(f"{value} {name}" for value, name in enumerate(converted.labels, start=1))
    console.print(
        f"{len(converted.cases)} cases are in {out}; labels: {names or 'none'}", markup=False
    )
    console.print(f"patients of the cases: {mapping}; keep it at the site", markup=False)


if __name__ == "__main__":
    raise SystemExit(main())
