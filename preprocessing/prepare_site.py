"""Preprocess a hospital's cases by a plan, offline: crop, normalise, resample and store them.

    python preprocessing/prepare_site.py FOLDER --plan plan.json -o PREPARED

Continues after an interruption; a case is prepared again only if its files or the plan changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.progress import bars
from fednnunet.dataset import read_dataset
from fednnunet.planning.plan import read_plan
from fednnunet.preprocess.store import prepare_site


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the preparation."""

    folder: Annotated[Path, Opt(positional=True)]
    """a site's folder in nnU-Net raw layout"""
    plan: Path
    """plan.json of the federation"""
    output: Annotated[Path, Opt(short="-o")]
    """folder for the prepared cases"""
    configuration: str = "3d_fullres"
    """configuration of the plan"""
    workers: int = 1
    """cases prepared in parallel"""
    memory_gib: float | None = None
    """limit of the memory of all workers together, in GiB"""


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare a folder by a plan."""
    options = parse(Options, argv, prog="prepare_site.py", about=__doc__ or "")
    return run_command(lambda: _prepare(options), private=True)


def _prepare(options: Options) -> None:
    check_output(options.output)
    plan, site = read_plan(options.plan), options.folder.resolve().name
    cases = read_dataset(options.folder, plan.task, site=site).cases
    console = PlainConsole(highlight=False)
    with bars(console) as progress:
        store = prepare_site(
            cases,
            plan,
            options.configuration,
            options.output,
            workers=options.workers,
            memory_gib=options.memory_gib,
            progress=lambda done, total, what: progress(site, done, total, what),
        )
    console.print(f"{len(store.names)} cases are prepared in {store.folder}", markup=False)


if __name__ == "__main__":
    raise SystemExit(main())
