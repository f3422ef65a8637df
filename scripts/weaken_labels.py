"""Derive weak or wrong labels from full ones, to try what each kind of label teaches.

Reads a site's folder in nnU-Net's raw layout, or a folder of such folders, and writes the same
cases with labels of one kind and a `dataset.json` that says so. Images are linked. The same seed
gives the same bytes, and a case looks the same whatever else is there.

    python scripts/weaken_labels.py ../shared/data/hippocampus -o OUT --kind scribble
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from weaken_site import Kind, Weakening, held_out_names, weaken_site

from fednnunet.commands.cli import Opt, check_output, parse, run_command
from fednnunet.dataset import read_dataset
from fednnunet.dataset_header import FILE, task_of
from fednnunet.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to derive from which labels."""

    source: Annotated[Path, Opt(positional=True)]
    """a site's folder (imagesTr, labelsTr, dataset.json), or a folder of sites' folders"""
    output: Annotated[Path, Opt(short="-o")]
    """a new folder, or for several sites a folder of new ones"""
    kind: Kind
    """what is left of the labels; full: what a partial case does not annotate becomes background,
    wrong: full labels with a --fault"""
    classes: tuple[str, ...] = ()
    """for partial: the classes that stay; with full: the others are turned to background"""
    fault: Literal["dilated", "eroded", "shifted", "swapped"] = "dilated"
    """for wrong: what is wrong with the map"""
    size_vox: int = 2
    """for wrong: by how many voxels it is dilated, eroded or shifted"""
    points: int = 5
    """for point: marked voxels of each class in a case"""
    seed: int = 0
    """seed of scribbles, points and shifts"""
    keep: tuple[str, ...] = ()
    """cases that keep the labels they have"""
    keep_held_out: tuple[float, ...] = ()
    """SHARE,SEED: the cases that a training with this held_out and split_seed holds out of the full
    labels (where neither a fold nor a pattern of patients decides) keep these and become the test
    set, so that a training with the weak ones holds out the same"""
    copy: bool = False
    """copy the images instead of linking them"""


def site_folders(source: Path) -> dict[str, Path]:
    """The sites' folders in `source` by name, sorted; raises InputError where there are none."""
    found = {path.name: path for path in sorted(source.glob("*")) if (path / FILE).is_file()}
    if not found:
        raise InputError(
            f"{source.name} is no site's folder, and holds none",
            where=str(source),
            mend=f"give a folder with imagesTr, labelsTr and {FILE}, or a folder of such folders",
        )
    return found


def _weaken(options: Options) -> None:
    check_output(options.output)
    how = Weakening(
        kind=options.kind,
        classes=options.classes,
        fault=options.fault,
        size_vox=options.size_vox,
        points=options.points,
        seed=options.seed,
    )
    one = (options.source / FILE).is_file()
    sites = {"": options.source} if one else site_folders(options.source)
    everything = {
        site: {c.name for c in read_dataset(f, task_of(f), require_labels=False).cases}
        for site, f in sites.items()
    }
    if unknown := sorted(set(options.keep) - set().union(*everything.values())):
        raise InputError(f"there is no case {', '.join(unknown)}", mend="correct --keep")
    for site, folder in sites.items():
        found = weaken_site(
            folder,
            options.output / site,
            how,
            keep=set(options.keep) & everything[site],
            test=_held_out(options, folder),
            copy=options.copy,
        )
        print(f"{folder.name}: {found.text(task_of(folder))}")


def _held_out(options: Options, folder: Path) -> set[str]:
    if not options.keep_held_out:
        return set()
    if len(options.keep_held_out) != 2 or not 0 <= options.keep_held_out[0] < 1:
        raise InputError(
            "--keep-held-out needs a share and a seed", mend="write --keep-held-out 0.2,0"
        )
    share, seed = options.keep_held_out
    return set(held_out_names(folder, share=share, seed=int(seed)))


def main(argv: Sequence[str] | None = None) -> int:
    """Weaken one site's labels, or those of several; one line for each."""
    options = parse(Options, argv, prog="weaken_labels.py", about=str(__doc__).splitlines()[0])
    return run_command(lambda: _weaken(options))


if __name__ == "__main__":
    raise SystemExit(main())
