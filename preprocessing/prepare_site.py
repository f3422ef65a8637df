"""Prepare a hospital's cases by a plan, offline: cropped, normalised, resampled, stored in patches.

    python preprocessing/prepare_site.py FOLDER --plan plan.json -o PREPARED

Goes on after an interruption, and makes a case anew only if its files or the plan changed.
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
    """What to prepare, by which plan."""

    folder: Annotated[Path, Opt("a site's folder in nnU-Net raw layout", positional=True)]
    plan: Annotated[Path, Opt("plan.json")]
    output: Annotated[Path, Opt("folder for the prepared cases", short="-o")]
    configuration: Annotated[str, Opt("configuration of the plan")] = "3d_fullres"
    workers: Annotated[int, Opt("cases prepared at a time")] = 1
    memory_gib: Annotated[float | None, Opt("bound on the memory of all workers")] = None


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
