"""Measure a hospital's cases offline, and show what it would send for planning.

    python preprocessing/fingerprint_site.py FOLDER -o fingerprint.json [--policy site.toml]

Nothing is sent. The file contains the sums that a federation would request, after the site's own
limits were applied, and nothing about a single case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from fednnunet.commands.cli import Opt, PlainConsole, check_output_file, parse, run_command
from fednnunet.commands.progress import bars
from fednnunet.dataset import read_dataset
from fednnunet.dataset_header import task_of
from fednnunet.federation.site.policy import read_policy
from fednnunet.planning.fingerprint import DESCRIPTION, Fingerprint, Layout
from fednnunet.planning.minimum_counts import check_cases, release_fingerprint
from fednnunet.planning.record import write_fingerprint
from fednnunet.preprocess.measure_site import measure_cases


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the measurement."""

    folder: Annotated[Path, Opt(positional=True)]
    """a site's folder in nnU-Net raw layout"""
    output: Annotated[Path, Opt(short="-o")]
    """file for the fingerprint (JSON)"""
    policy: Path | None = None
    """file with the site's limits; by default FOLDER/site.toml"""
    workers: int = 1
    """cases measured in parallel"""
    memory_gib: float | None = None
    """limit of the memory of all workers together, in GiB"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure a folder, write its fingerprint, and describe it."""
    options = parse(Options, argv, prog="fingerprint_site.py", about=__doc__ or "")
    return run_command(lambda: _measure(options), private=True)


def _measure(options: Options) -> None:
    check_output_file(options.output)
    task, site = task_of(options.folder), options.folder.resolve().name
    policy = read_policy(options.policy, options.folder)
    cases = read_dataset(options.folder, task, site=site).cases
    check_cases(len(cases), policy.required_cases, site=site)
    console = PlainConsole(highlight=False)
    with bars(console) as progress:
        measured = measure_cases(
            cases,
            task,
            workers=options.workers,
            memory_gib=options.memory_gib,
            progress=lambda done, total, what: progress(site, done, total, what),
        )
    fingerprint = release_fingerprint(task, measured, min_bin_count=policy.min_bin_count)
    write_fingerprint(fingerprint, options.output)
    _show(fingerprint, options.output, console)


def _show(fingerprint: Fingerprint, path: Path, console: Console) -> None:
    vector = fingerprint.to_vector()
    console.print(f"would be sent: {DESCRIPTION}", markup=False)
    for name, (shape, _) in Layout.of(fingerprint.task).blocks.items():
        used = int((fingerprint.block(name) != 0).sum())
        size = " x ".join(map(str, shape))
        console.print(f"  {name}: {size} sums, {used} of them not 0", markup=False)
    console.print(
        f"{len(vector):,} sums, {vector.nbytes:,} bytes and a header, whatever the number of "
        f"cases; written to {path}",
        markup=False,
    )


if __name__ == "__main__":
    raise SystemExit(main())
