"""Lay out a downloaded task of the Medical Segmentation Decathlon as the sites of a federation.

    python scripts/lay_out_msd.py Task09_Spleen -o data --sites berlin,oslo

The archive's cases are dealt to the sites in turn; files are linked where the system allows it,
else copied. 4D images (several channels in a file) are left to `fednnunet_check --fix`. Then:

    fednnunet_new data/berlin data/oslo -o federation.toml
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fednnunet.commands.cli import Opt, PlainConsole, parse, run_command
from fednnunet.errors import InputError
from fednnunet.federation.site_names import checked_sites
from fednnunet.files import write_text
from fednnunet.text import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of lay_out_msd.py."""

    task: Annotated[Path, Opt(positional=True)]
    """folder of the unpacked archive, with dataset.json, imagesTr and labelsTr"""
    output: Annotated[Path, Opt(short="-o")]
    """folder for the sites' folders"""
    sites: tuple[str, ...] = ("berlin", "oslo")
    """names of the sites"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write a folder in nnU-Net's raw layout for each site."""
    about = str(__doc__).splitlines()[0]
    options = parse(Options, argv, prog="lay_out_msd.py", about=about)
    return run_command(lambda: _lay_out(options))


def _lay_out(options: Options) -> None:
    header, pairs = _read(options.task)
    names = list(checked_sites(dict.fromkeys(options.sites)))
    for number, name in enumerate(names):
        folder, own = options.output / name, pairs[number :: len(names)]
        for image, label in own:
            case = image.name.removesuffix(".nii.gz")
            _place(image, folder / "imagesTr" / f"{case}_0000.nii.gz")
            _place(label, folder / "labelsTr" / f"{case}.nii.gz")
        write_text(folder / "dataset.json", json.dumps(header, indent=1))
        PlainConsole().print(f"{name}: {plural(len(own), 'case')} in {folder}")


def _read(folder: Path) -> tuple[dict[str, object], list[tuple[Path, Path]]]:
    """The header in nnU-Net's form, and the pairs of image and label."""
    path = folder / "dataset.json"
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        header = {
            "name": str(old["name"]),
            "channel_names": {str(key): str(name) for key, name in old["modality"].items()},
            "labels": {str(name): int(value) for value, name in old["labels"].items()},
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"this is no task of the Decathlon: {error}",
            where=str(path),
            mend="give the folder of the unpacked archive, such as Task09_Spleen",
        ) from None
    images = sorted((folder / "imagesTr").glob("[!.]*.nii.gz"))  # ._ files come from macOS
    pairs = [(image, folder / "labelsTr" / image.name) for image in images]
    missing = [image.name for image, label in pairs if not label.is_file()]
    if missing or not pairs:
        raise InputError(
            f"{plural(len(missing), 'image')} without a label map" if pairs else "no images",
            where=str(folder),
            mend="unpack the whole archive again",
        )
    return header, pairs


def _place(source: Path, target: Path) -> None:
    """Link a file, or copy it; one that is there already stays."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


if __name__ == "__main__":
    raise SystemExit(main())
