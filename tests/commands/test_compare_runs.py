from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.commands.compare_runs import (
    affordable_jobs,
    check_run,
    collect,
    run_jobs,
    train_runs,
)
from fednnunet.errors import DataError, InputError
from fednnunet.evaluation.scores import SiteScores
from fednnunet.evaluation.tables import write_cases_csv
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.training_checks import FOLDS
from fednnunet.federation.training_spec import Training
from fednnunet.federation.workflows.train import SCORES, ModelScores, TrainingScores
from tests.evaluation.made_up import a_case
from tests.federation.fakes import a_plan


def a_federation(root: Path, **training) -> Federation:
    sites = {"north": SiteSpec(folder=root / "north")}
    return Federation(task=a_plan().task, sites=sites, training=Training(**training))


def jobs_of(root: Path, *, seeds: int = 1, methods=("fedavg", "local"), **training):
    federation = a_federation(root, **training)
    return run_jobs(federation, a_plan(), root / "out", methods=methods, seeds=seeds)


def finish(job, dice: float) -> None:
    """What a finished run leaves: the sums, and the scores of single cases at the site."""
    case = a_case("c", dice, target="a")
    model = ModelScores(
        model="global", method="x", personal=False, sites={"north": SiteScores.of(("a",), [case])}
    )
    records.write(TrainingScores(training_cases={"north": 3}, models=(model,)), job.folder / SCORES)
    folder = job.folder / "sites" / "north" / "held_out" / "global"
    folder.mkdir(parents=True)
    write_cases_csv(folder / "scores.csv", {"": [case]})


def test_runs_are_ordered_by_seed_and_share_split_and_prepared_cases(tmp_path):
    jobs = jobs_of(tmp_path, seeds=2, seed=7)
    assert [job.name for job in jobs] == ["fedavg_7", "local_7", "fedavg_8", "local_8"]
    assert {job.federation.training.split_seed for job in jobs} == {7}
    assert {job.prepared for job in jobs} == {tmp_path / "out" / "prepared"}


def test_a_split_seed_of_the_federation_is_kept(tmp_path):
    jobs = jobs_of(tmp_path, seeds=2, seed=7, split_seed=3)
    assert {job.federation.training.split_seed for job in jobs} == {3}


def test_with_folds_every_fold_is_a_run(tmp_path):
    federation = a_federation(tmp_path)
    jobs = run_jobs(federation, a_plan(), tmp_path, methods=("fedavg",), seeds=1, folds=True)
    assert [job.name for job in jobs] == [f"fedavg_0_fold_{fold}" for fold in range(FOLDS)]
    assert [job.federation.training.fold for job in jobs] == list(range(FOLDS))


def test_a_run_goes_on_with_the_same_settings_only(tmp_path):
    job, _ = jobs_of(tmp_path)
    check_run(job)  # nothing is there yet
    records.write(job.federation, job.folder / "federation.json")
    records.write(job.plan, job.folder / "plan.json")
    check_run(job)
    elsewhere = replace(job.federation, training=replace(job.federation.training, device="cpu"))
    check_run(replace(job, federation=elsewhere))  # how it is computed may change
    longer = replace(job.federation, training=replace(job.federation.training, rounds=99))
    with pytest.raises(InputError, match="other settings"):
        check_run(replace(job, federation=longer))
    with pytest.raises(InputError, match="another plan"):
        check_run(replace(job, plan=replace(job.plan, cases=7)))


def test_only_methods_and_seeds_whose_runs_are_finished_are_collected(tmp_path):
    first, second = jobs_of(tmp_path)
    assert not first.done
    finish(first, 0.75)
    (trial,) = collect([first, second])
    assert (trial.method, trial.model, trial.seed) == ("fedavg", "global", 0)
    assert trial.sites["north"].mean("dice") == pytest.approx(0.75)
    assert trial.external == frozenset()


def test_a_run_that_fails_is_named_and_the_next_is_trained(tmp_path, monkeypatch):
    from fednnunet.commands import compare_runs

    def train(job, **options):
        if job.name.startswith("fedavg"):
            raise DataError("the disk is full", where="site north")

    monkeypatch.setattr(compare_runs, "train_run", train)
    outcomes = list(train_runs(jobs_of(tmp_path), at_once=1))
    assert [len(faults) for _, faults in outcomes] == [1, 0]
    assert outcomes[0][1][0].where == "run fedavg_0, site north"


def test_as_many_runs_as_cores_and_memory_allow(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    plan = a_plan()
    pages = {"SC_PAGE_SIZE": 2**20, "SC_PHYS_PAGES": 2**20}  # 1 TiB
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert affordable_jobs(100, plan, "3d_fullres") == 4
    assert affordable_jobs(2, plan, "3d_fullres") == 2
    pages["SC_PHYS_PAGES"] = 1
    assert affordable_jobs(100, plan, "3d_fullres") == 1
