"""Convert DICOM series with DICOM-SEG or RTSTRUCT references into nnU-Net's raw layout.

    python preprocessing/dicom_to_nifti.py DICOM -o FOLDER --channels CT --labels liver,tumour

No file in FOLDER tells who a patient is. FOLDER.mapping.json beside it does: it stays at the site.
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
    """What to convert, and what its channels and structures are."""

    folder: Annotated[Path, Opt("folder of DICOM files, at any depth", positional=True)]
    output: Annotated[Path, Opt("folder for imagesTr, labelsTr and dataset.json", short="-o")]
    channels: Annotated[
        tuple[str, ...],
        Opt("names of the channels, of several with a pattern of their series: T1=t1,T2=t2.*tse"),
    ]
    labels: Annotated[
        tuple[str, ...], Opt("structures in the order of their label values; all, if not given")
    ] = ()
    prefix: Annotated[str, Opt("what the names of the cases begin with")] = "case"
    mapping: Annotated[
        Path | None, Opt("file that maps cases to patients; OUTPUT.mapping.json, if not given")
    ] = None


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
            progress=lambda done, total, what: progress(out.name, done, total, what),
        )
    _tell(converted, out, mapping, console)
    raise_all("some series were not converted", converted.faults)


def _channel(text: str) -> Channel:
    name, _, pattern = text.partition("=")
    return Channel(name=name, pattern=pattern)


def _tell(converted: Converted, out: Path, mapping: Path, console: Console) -> None:
    for note in converted.notes:
        console.print(note, markup=False)
    names = ", ".join(f"{value} {name}" for value, name in enumerate(converted.labels, start=1))
    console.print(
        f"{len(converted.cases)} cases are in {out}; labels: {names or 'none'}", markup=False
    )
    console.print(f"who is who: {mapping}; keep it at the site", markup=False)


if __name__ == "__main__":
    raise SystemExit(main())
