"""fednnunet_view: an image and masks on one page that needs no network and no installation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fednnunet.commands.cli import Opt, PlainConsole, check_output_file, parse, run_command


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_view."""

    image: Annotated[Path, Opt(positional=True)]
    """image, such as case_0000.nii.gz"""
    masks: Annotated[tuple[Path, ...], Opt(positional=True)]
    """masks on the grid of the image"""
    output: Annotated[Path | None, Opt(short="-o")] = None
    """the page; by default the first mask's name with .html, in the working folder"""
    task: Path | None = None
    """dataset.json with the names of the labels"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and print its path."""
    options = parse(Options, argv, prog="fednnunet_view", about=__doc__ or "")
    return run_command(lambda: _view(options), private=True)


def _view(options: Options) -> None:
    from fednnunet import io
    from fednnunet.evaluation.folders import read_task
    from fednnunet.evaluation.viewer import write_viewer

    first = options.masks[0].name
    path = options.output or Path(f"{first.removesuffix(io.ending(options.masks[0]) or '')}.html")
    check_output_file(path)
    labels = read_task(options.task).labels if options.task else ()
    names = _names(options.masks)
    masks = {name: io.read_label(mask) for name, mask in zip(names, options.masks, strict=True)}
    write_viewer(path, io.read_volume((options.image,)), masks, labels=labels, title=first)
    PlainConsole(highlight=False).print(str(path), markup=False, soft_wrap=True)


def _names(masks: Sequence[Path]) -> list[str]:
    """A name for each mask: its file's, or with its folder where two files have the same."""
    names = [mask.name for mask in masks]
    if len(set(names)) == len(names):
        return names
    return [f"{number}: {mask.parent.name}/{mask.name}" for number, mask in enumerate(masks, 1)]
