"""fednnunet_check: list every fault of a site's folder, before the site joins a federation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Table

from fednnunet import records
from fednnunet.commands.cli import Opt, PlainConsole, check_output_file, parse, run_command
from fednnunet.commands.progress import bars
from fednnunet.dataset_header import task_of
from fednnunet.federation.site.policy import read_policy
from fednnunet.federation.spec import read_federation
from fednnunet.preprocess.check import SiteReport, check_site, require_cases
from fednnunet.preprocess.fix import Fixed, fix_site
from fednnunet.task import Task
from fednnunet.text import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_check."""

    folder: Annotated[Path, Opt(positional=True)]
    """a site's folder in nnU-Net raw layout"""
    site: str = ""
    """name of the site in messages; by default the name of the folder"""
    federation: Path | None = None
    """federation file (TOML) whose task the folder must fit; with the label_names of --site, if it
    names that site"""
    output: Annotated[Path | None, Opt(short="-o")] = None
    """also write the report to this file, as JSON"""
    fix: Path | None = None
    """write a corrected copy to this new folder, and check the copy"""
    workers: int = 1
    """cases read in parallel"""
    memory_gib: float | None = None
    """limit of the memory of all workers together, in GiB"""


def main(argv: Sequence[str] | None = None) -> int:
    """Check a folder; exit code 2 if the site (with --fix: the copy) is not fit to take part."""
    options = parse(Options, argv, prog="fednnunet_check", about=__doc__ or "")
    return run_command(lambda: _run(options), private=True)


def _run(options: Options) -> None:
    console = PlainConsole(highlight=False, soft_wrap=True)
    if options.output:
        check_output_file(options.output)
    report = _check(options, options.folder, console)
    if options.output:
        records.write(report, options.output)
    _show(report, console)
    if options.fix is None:
        report.raise_faults()
        return
    for fault in report.faults:
        console.print(f"fault: {fault.error()}", markup=False)
    fixed = fix_site(options.folder, options.fix, task_of(options.folder))
    _show_copies(fixed, options.fix, console)
    copy = _check(options, options.fix, console)
    _show(copy, console)
    copy.raise_faults()


def _check(options: Options, folder: Path, console: Console) -> SiteReport:
    site = options.site or folder.resolve().name
    wanted = _wanted(options.federation, site)
    policy = read_policy(wanted.policy, options.folder)
    with bars(console) as progress:
        report = check_site(
            folder,
            wanted.task,
            site=site,
            label_names=wanted.label_names,
            workers=options.workers,
            memory_gib=options.memory_gib,
            progress=lambda done, total, what: progress(site, done, total, what),
        )
    return require_cases(report, policy.required_cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What a federation file says of the site."""

    task: Task | None = None
    label_names: dict[str, str] = field(default_factory=dict)
    policy: Path | None = None


def _wanted(federation: Path | None, site: str) -> _Wanted:
    if federation is None:
        return _Wanted()
    read = read_federation(federation, missing=True)
    if site not in read.sites:
        return _Wanted(task=read.task)
    own = read.sites[site]
    return _Wanted(task=read.task, label_names=own.label_names, policy=own.policy)


def _show(report: SiteReport, console: Console) -> None:
    labels = ", ".join(f"{name} in {count}" for name, count in report.cases_per_label.items())
    cases = plural(report.cases, "case")
    console.print(f"site {report.site}: {report.verdict}, {cases}; {labels}", markup=False)
    if report.cases_per_kind.keys() - {"full"}:
        kinds = ", ".join(f"{kind} in {count}" for kind, count in report.cases_per_kind.items())
        console.print(f"  kinds of labels: {kinds}", markup=False)
    for kind, count in report.counts().items():
        console.print(f"  {kind}: {count}", markup=False)
    for warning in report.warnings:
        console.print(f"warning: {warning.error()}", markup=False)


def _show_copies(fixed: Sequence[Fixed], folder: Path, console: Console) -> None:
    """Print which cases of the copy were corrected and which were left out."""
    table = Table(title=f"copies in {folder}", title_justify="left")
    for column in ("case", "corrected", "left out because"):
        table.add_column(column, overflow="fold")
    for case in fixed:
        if case.mended or case.left_out:
            table.add_row(case.case, "\n".join(case.mended), case.left_out)
    console.print(table)
    copied = sum(not case.left_out for case in fixed)
    console.print(
        f"{copied} of {plural(len(fixed), 'case')} copied; the originals were not changed"
    )
