"""fednnunet_compare: compare methods with the same plan, cases and number of iterations.

A tool for one machine: it reads the scores of single cases in the folders of all sites.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from fednnunet import records
from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.compare_runs import (
    Progress,
    RunJob,
    affordable_jobs,
    check_run,
    collect,
    run_jobs,
    train_run,
    train_runs,
)
from fednnunet.commands.compare_watch import CompareWatch
from fednnunet.commands.plan_federation import plan_federation
from fednnunet.commands.progress import bars
from fednnunet.commands.round_lines import RoundLines
from fednnunet.commands.site_faults import show_fault
from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.evaluation.compare_page import comparison, verdicts_as_markdown, write_comparison
from fednnunet.evaluation.compare_tables import markdown, write_rows
from fednnunet.evaluation.trials import Trial, entries
from fednnunet.federation.coordinator.exchange import ask_all
from fednnunet.federation.methods.catalogue import PRESETS
from fednnunet.federation.spec import Federation, SiteSpec, read_federation
from fednnunet.federation.wire.messages import PrepareInvite, PrepareReply
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.files import write_text
from fednnunet.planning.plan import Plan, read_plan
from fednnunet.text import choices, plural

USUAL_REFERENCE = "fedavg"
PAGE = "compare.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_compare."""

    federation: Annotated[Path, Opt(positional=True)]
    """federation file (TOML)"""
    output: Annotated[Path, Opt(short="-o")]
    """folder for the runs and the comparison"""
    methods: tuple[str, ...] = ("fedavg", "fedease", "local")
    """methods to compare: fedavg,fedease,local,pooled"""
    seeds: int = 3
    """trainings of each method, with different seeds"""
    jobs: int = 1
    """trainings in parallel, if cores and memory allow"""
    reference: str = ""
    """method that the others are compared with; by default fedavg, or else the first"""
    leave_out: tuple[str, ...] = ()
    """external sites, which do not train and only evaluate: berlin,oslo"""
    folds: bool = False
    """train once per fold, so that every case is held out once"""
    cases_per_site: int = 0
    """train on at most so many cases of each site; 0 for all"""


def main(argv: Sequence[str] | None = None) -> int:
    """Plan once, train every method with every seed, and compare; continues if interrupted."""
    options = parse(Options, argv, prog="fednnunet_compare", about=__doc__ or "")
    return run_command(
        lambda: _compare(options, PlainConsole(highlight=False, soft_wrap=True)), private=True
    )


def _compare(options: Options, console: Console) -> None:
    _check_options(options)
    check_output(options.output)
    federation, plan = _plan(options, console)
    jobs = run_jobs(
        federation,
        plan,
        options.output,
        methods=options.methods,
        seeds=options.seeds,
        folds=options.folds,
    )
    faults = _train(jobs, options, console)
    raise_all(f"not all of {len(jobs)} runs could be trained", faults)


def _check_options(options: Options) -> None:
    faults: list[FedNNUNetError] = []
    for name in (*options.methods, *filter(None, [options.reference])):
        if name not in PRESETS:
            mend = choices(name, PRESETS)
            faults.append(InputError(f"there is no method {name!r}", mend=mend))
    if not options.methods or len(set(options.methods)) < len(options.methods):
        mend = "list the methods without repetitions: --methods fedavg,local"
        faults.append(InputError("--methods must name each method once", mend=mend))
    if options.reference and options.reference not in options.methods:
        mend = "name one of --methods as --reference"
        faults.append(InputError(f"{options.reference!r} is not compared", mend=mend))
    if options.seeds < 1 or options.jobs < 1 or options.cases_per_site < 0:
        mend = "give --seeds and --jobs of 1 or more, --cases-per-site of 0 or more"
        faults.append(InputError("a number on the command line is too small", mend=mend))
    raise_all("the options are not valid", faults)


def _plan(options: Options, console: Console) -> tuple[Federation, Plan]:
    """The federation of all runs, and its plan: the one in the folder, or a new one."""
    out = options.output
    given = read_federation(options.federation)
    if (out / "plan.json").is_file() and (out / "federation.json").is_file():
        planned = records.read(Federation, out / "federation.json")
        if (planned.task, _folders(planned)) != (given.task, _folders(given)):
            raise InputError(
                "the folder was planned for another task or other sites",
                where=str(out),
                mend="choose another output folder",
            )
        plan = read_plan(out / "plan.json")
    else:
        plan = plan_federation(
            options.federation, out, planner=None, memory_gib=(), without=(), console=console
        )
        planned = records.read(Federation, out / "federation.json")
    max_cases = options.cases_per_site or given.training.max_cases
    federation = dataclasses.replace(
        given,
        sites=_sites(given, options.leave_out),
        budget=dataclasses.replace(planned.budget, workers=given.budget.workers),
        training=dataclasses.replace(given.training, max_cases=max_cases),
    )
    return federation, plan


def _sites(federation: Federation, left_out: Sequence[str]) -> dict[str, SiteSpec]:
    unknown = set(left_out) - set(federation.sites)
    if unknown:
        raise InputError(
            f"there is no site {', '.join(sorted(unknown))} to leave out",
            mend=choices(min(unknown), federation.sites),
        )
    external = {
        site: dataclasses.replace(federation.sites[site], trains=False) for site in left_out
    }
    return federation.sites | external


def _folders(federation: Federation) -> dict[str, Path]:
    return {name: site.folder for name, site in federation.sites.items()}


def _train(
    jobs: Sequence[RunJob], options: Options, console: Console
) -> tuple[FedNNUNetError, ...]:
    """Train the missing runs and update the comparison after each; returns the runs' faults."""
    for job in jobs:
        check_run(job)
    for job in jobs:
        if job.done:  # the command may have been interrupted before the report was written
            train_run(job)
    todo = [job for job in jobs if not job.done]
    faults: list[FedNNUNetError] = []
    with bars(console) as progress:
        for job in {job.federation.training.fold: job for job in todo}.values():
            _prepare(job, options.output, progress)
        at_once = options.jobs
        if todo and at_once > 1:
            configuration = todo[0].federation.training.configuration
            at_once = affordable_jobs(at_once, todo[0].plan, configuration)
            console.print(f"{plural(at_once, 'run')} in parallel", markup=False)
        watch = CompareWatch(jobs, progress.whole)
        outcomes = train_runs(
            todo,
            at_once=at_once,
            observer=lambda job: watch.observer(job, RoundLines(console)),
            progress=progress,
        )
        for count, (job, failed) in enumerate(outcomes, start=1):
            faults += failed
            watch.end(job)
            state = "failed" if failed else "done"
            console.print(f"run {count} of {len(todo)}: {job.name} {state}", markup=False)
            _write(jobs, options)
    trials = _write(jobs, options)
    if trials:
        console.print((options.output / "table.md").read_text(encoding="utf-8"), markup=False)
    return tuple(faults)


def _prepare(job: RunJob, out: Path, progress: Progress) -> None:
    """Prepare the cases of the run's split, for this run and all others with the same split."""
    engine = simulation_engine(
        job.federation,
        out,
        plan=job.plan,
        prepared=job.prepared,
        progress=progress,
        on_fault=show_fault,
    )
    invite = PrepareInvite(plan=job.plan, configuration=job.federation.training.configuration)
    ready = ask_all(engine, invite, PrepareReply, what="not all sites can prepare")
    if not any(reply.held_out_cases for reply in ready.values()):
        raise InputError(
            "no site holds out any case, so there is nothing to compare",
            where="training.held_out",
            mend="set held_out above 0, for sites with at least two patients",
        )


def _write(jobs: Sequence[RunJob], options: Options) -> tuple[Trial, ...]:
    """Write the tables and the page of the finished runs."""
    trials = collect(jobs)
    if trials:
        usual = USUAL_REFERENCE if USUAL_REFERENCE in options.methods else options.methods[0]
        reference, found = options.reference or usual, entries(trials)
        title = f"{jobs[0].federation.task.name}: comparison of methods"
        sites = jobs[0].federation.sites
        external = tuple(name for name, site in sites.items() if not site.trains)
        page = comparison(title, found, reference=reference, external=external, runs=len(jobs))
        text = markdown(found, reference=reference) + verdicts_as_markdown(page)
        write_text(options.output / "table.md", text)
        write_comparison(options.output / PAGE, page)
        write_rows(trials, options.output)
    return trials
