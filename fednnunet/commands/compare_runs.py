"""The runs of a comparison: make the list, train them one by one or in parallel, collect scores.

Each is an ordinary run folder, with a report and bundles. A finished run is not trained again; an
interrupted one continues.
"""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import torch

from fednnunet import records
from fednnunet.commands.report_run import REPORT, report_run
from fednnunet.commands.site_faults import show_fault
from fednnunet.errors import FedNNUNetError, InputError, single_faults
from fednnunet.evaluation.tables import read_cases_csv
from fednnunet.evaluation.trials import Trial, over_folds
from fednnunet.federation.coordinator.history import RoundRecord, load_records
from fednnunet.federation.coordinator.rounds import Run
from fednnunet.federation.methods.catalogue import PRESETS, label
from fednnunet.federation.methods.pooled import run_kind
from fednnunet.federation.site.evaluation import CASES
from fednnunet.federation.spec import Federation
from fednnunet.federation.training_checks import FOLDS
from fednnunet.federation.workflows.simulation import SITES, simulation_engine
from fednnunet.federation.workflows.train import SCORES, TrainingScores, train_together
from fednnunet.planning.memory import training_gib
from fednnunet.planning.plan import Plan, read_plan
from fednnunet.system import memory_bytes
from fednnunet.training.threads import threads_of_run, using

_TRAFFIC = ("bytes_from_site", "bytes_to_site")

Observer = Callable[[Run, RoundRecord], None]
Progress = Callable[[str, int, int, str], None]
Outcome = tuple["RunJob", tuple[FedNNUNetError, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob:
    """One method to train with one seed in `folder`, on prepared cases that all runs share."""

    folder: Path
    prepared: Path
    federation: Federation
    plan: Plan

    @property
    def name(self) -> str:
        """The run's method and seed."""
        return self.folder.name

    @property
    def done(self) -> bool:
        """Whether the run is finished."""
        return (self.folder / SCORES).is_file()


def run_jobs(
    federation: Federation,
    plan: Plan,
    out: Path,
    *,
    methods: Sequence[str],
    seeds: int,
    folds: bool = False,
) -> tuple[RunJob, ...]:
    """The runs `out/runs/METHOD_SEED`, seeds counted from the federation's own.

    All have the same split, from the federation's `split_seed` or else its `seed`. With `folds`
    each is trained once per fold, in `METHOD_SEED_fold_FOLD`. Runs are ordered by seed, so that
    there is soon a table of all methods.
    """
    training = federation.training
    split = training.seed if training.split_seed is None else training.split_seed
    seeds_tried = range(training.seed, training.seed + seeds)
    jobs = []
    for seed, method, fold in itertools.product(
        seeds_tried, methods, range(FOLDS) if folds else (training.fold,)
    ):
        own = dataclasses.replace(
            training,
            method=PRESETS[method],
            seed=seed,
            split_seed=split,
            fold=fold,
            baselines=(),
            routed=False,
        )
        name = f"{method}_{seed}_fold_{fold}" if folds else f"{method}_{seed}"
        jobs.append(
            RunJob(
                folder=out / "runs" / name,
                prepared=out / "prepared",
                federation=dataclasses.replace(federation, training=own),
                plan=plan,
            )
        )
    return tuple(jobs)


def check_run(job: RunJob) -> None:
    """Raise InputError if the run's folder was started with other settings or another plan."""
    if not (job.folder / "federation.json").is_file():
        return
    started = records.read(Federation, job.folder / "federation.json")
    if _without_execution(started) != _without_execution(job.federation):
        raise InputError(
            f"the run {job.name} was started with other settings",
            where=str(job.folder),
            mend="choose another output folder, or delete this run",
        )
    if read_plan(job.folder / "plan.json") != job.plan:
        raise InputError(
            f"the run {job.name} was started with another plan",
            where=str(job.folder),
            mend="choose another output folder, or delete this run",
        )


def train_run(
    job: RunJob,
    *,
    observer: Observer | None = None,
    progress: Progress | None = None,
    alone: bool = True,
) -> None:
    """Train, evaluate and report one run; continues if it was interrupted.

    Unless it runs `alone`, it uses this process's number of CPU threads.
    """
    if not job.done:
        records.write(job.plan, job.folder / "plan.json")
        records.write(job.federation, job.folder / "federation.json")
        engine = simulation_engine(
            job.federation,
            job.folder,
            plan=job.plan,
            prepared=job.prepared,
            progress=progress,
            on_fault=show_fault,
        )
        observe = observer or (lambda run, record: None)
        threads = threads_of_run(job.folder, job.federation.training.threads, alone=alone)
        with using(threads):
            train_together(engine, job.federation, job.plan, job.folder, observer=observe)
    if not (job.folder / REPORT).is_file():
        report_run(job.folder)


def train_runs(
    jobs: Sequence[RunJob],
    *,
    at_once: int,
    observer: Callable[[RunJob], Observer] | None = None,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Train every run, `at_once` in parallel, and yield each with its faults when it ends.

    `observer` makes the observer of a run's rounds; parallel runs have none.
    """
    if at_once <= 1:
        for job in jobs:
            yield job, _attempt(job, observer(job) if observer else None, progress)
        return
    threads = max(1, (os.cpu_count() or 1) // at_once)
    with ProcessPoolExecutor(
        at_once,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(threads,),
    ) as pool:
        waiting = {pool.submit(_attempt, job, alone=False): job for job in jobs}
        for future in as_completed(waiting):
            job = waiting[future]
            try:
                yield job, future.result()
            except BrokenProcessPool:
                yield job, (_killed(job),)


def _begin_worker(threads: int) -> None:
    """Limit the threads of a worker, and end it when the parent process ends for any reason."""
    torch.set_num_threads(threads)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def affordable_jobs(jobs: int, plan: Plan, configuration: str) -> int:
    """The number of parallel runs that this machine's cores and memory allow; at least one."""
    memory_gib = memory_bytes() / 2**30
    need = training_gib(plan.configuration(configuration), plan.task)
    return max(1, min(jobs, os.cpu_count() or 1, int(memory_gib / need)))


def collect(jobs: Sequence[RunJob]) -> tuple[Trial, ...]:
    """The models of every method and seed with finished runs, with all folds combined."""
    groups: dict[tuple[str, int], list[RunJob]] = {}
    for job in jobs:
        training = job.federation.training
        groups.setdefault((label(training.method), training.seed), []).append(job)
    return over_folds(
        trial
        for group in groups.values()
        if all(job.done for job in group)
        for job in group
        for trial in _trials(job)
    )


def _trials(job: RunJob) -> tuple[Trial, ...]:
    """The models of a finished run, with the scores of single cases from its sites' folders."""
    scores = records.read(TrainingScores, job.folder / SCORES)
    rounds = [
        site for record in load_records(job.folder / "rounds") for site in record.sites.values()
    ]
    training = job.federation.training
    sent, received = (sum(getattr(site, name) for site in rounds) for name in _TRAFFIC)
    pooled = run_kind(training.method) == "pooled"
    trials = []
    for model in scores.models:
        kind = "personal" if model.personal else "global"
        cases = {}
        for site in model.sites:
            folder = job.folder / SITES / site / "held_out" / kind
            cases[site] = read_cases_csv(folder / CASES).get("", ())
        trials.append(
            Trial(
                method=label(training.method),
                model=kind,
                seed=training.seed,
                targets=job.plan.task.targets,
                cases=cases,
                bytes_sent=None if pooled else sent,
                bytes_received=None if pooled else received,
                seconds=sum(site.seconds for site in rounds),
                external=scores.external,
            )
        )
    return tuple(trials)


def _without_execution(federation: Federation) -> Federation:
    """The federation without the settings that may change during a training."""
    budget = dataclasses.replace(federation.budget, workers=1)
    training = federation.training.without_execution()
    return dataclasses.replace(federation, training=training, budget=budget)


def _attempt(
    job: RunJob,
    observer: Observer | None = None,
    progress: Progress | None = None,
    *,
    alone: bool = True,
) -> tuple[FedNNUNetError, ...]:
    try:
        train_run(job, observer=observer, progress=progress, alone=alone)
    except FedNNUNetError as error:
        for fault in single_faults(error):
            fault.where = f"run {job.name}, {fault.where}" if fault.where else f"run {job.name}"
        return single_faults(error)
    return ()


def _killed(job: RunJob) -> FedNNUNetError:
    return FedNNUNetError(
        "a worker process was killed during the training",
        where=f"run {job.name}",
        mend="if memory ran out, use fewer --jobs; the same command continues from here",
    )
