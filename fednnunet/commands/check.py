"""fednnunet_check: every fault of a site's folder at once, before the site joins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from fednnunet import records
from fednnunet.commands.cli import Opt, parse, run_command
from fednnunet.commands.progress import bars
from fednnunet.preprocess.check import SiteReport, check_site


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which folder to check, and where to put the report."""

    folder: Annotated[Path, Opt("a site's folder in nnU-Net raw layout", positional=True)]
    site: Annotated[str, Opt("name of the site in messages; the folder's, if not given")] = ""
    output: Annotated[Path | None, Opt("also write the report here, as JSON", short="-o")] = None
    workers: Annotated[int, Opt("cases read at a time")] = 1
    memory_gib: Annotated[float | None, Opt("bound on the memory of all workers")] = None


def main(argv: Sequence[str] | None = None) -> int:
    """Check a folder; exit code 2 if the site is not fit to take part."""
    options = parse(Options, argv, prog="fednnunet_check", about=__doc__ or "")
    return run_command(lambda: _check(options))


def _check(options: Options) -> None:
    console = Console(highlight=False, soft_wrap=True)
    site = options.site or options.folder.resolve().name
    with bars(console) as progress:
        report = check_site(
            options.folder,
            site=site,
            workers=options.workers,
            memory_gib=options.memory_gib,
            progress=lambda done, total, what: progress(site, done, total, what),
        )
    if options.output:
        records.write(report, options.output)
    _show(report, console)
    report.raise_faults()


def _show(report: SiteReport, console: Console) -> None:
    labels = ", ".join(f"{name} in {count}" for name, count in report.cases_per_label.items())
    console.print(
        f"site {report.site}: {report.verdict}, {report.cases} cases; {labels}", markup=False
    )
    for kind, count in report.counts().items():
        console.print(f"  {kind}: {count}", markup=False)
    for warning in report.warnings:
        console.print(f"warning: {warning.error()}", markup=False)
