"""The bar of a whole comparison, by a clock of the test's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fednnunet.commands.compare_runs import RunJob
from fednnunet.commands.compare_watch import CompareWatch
from fednnunet.federation.coordinator import history
from fednnunet.federation.methods.merge import State
from tests.commands.test_compare_runs import finish, jobs_of
from tests.federation.coordinator.test_history import a_record
from tests.federation.fakes import a_run


class Watched:
    """A watch of four runs of 10 rounds, and the last bar that it shows."""

    def __init__(self, jobs: tuple[RunJob, ...]) -> None:
        self.now = 0.0
        self.bar = (0, 0, "")
        self.lines: list[int] = []
        self.watch = CompareWatch(jobs, self.show, clock=lambda: self.now)

    def show(self, *bar: int | str) -> None:
        self.bar = bar

    def round(self, job: RunJob, number: int, *, of: int = 10) -> None:
        observe = self.watch.observer(job, lambda run, record: self.lines.append(record.round))
        observe(a_run(job.folder), replace(a_record(number), of=of))


@pytest.fixture
def jobs(tmp_path: Path) -> tuple[RunJob, ...]:
    return jobs_of(tmp_path, seeds=2, rounds=10, public_rounds=0)


def test_it_counts_the_rounds_of_all_runs_and_tells_the_time_left(jobs) -> None:
    watched = Watched(jobs)
    assert watched.bar == (0, 40, "comparison  0 of 4 runs done, rounds")
    watched.now = 60.0
    watched.round(jobs[0], 1)
    assert watched.bar == (1, 40, "comparison  0 of 4 runs done, 0:39:00 left, rounds")
    assert watched.lines == [1]
    watched.now = 1000.0  # the run's evaluation counts
    watched.watch.end(jobs[0])
    assert watched.bar == (10, 40, "comparison  1 of 4 runs done, 0:50:00 left, rounds")
    for job in jobs[1:]:
        watched.watch.end(job)
    assert watched.bar == (40, 40, "comparison  4 of 4 runs done, rounds")


def test_a_run_of_fewer_rounds_than_its_settings_allow_ends_whole(jobs) -> None:
    watched = Watched(jobs)
    watched.round(jobs[0], 5, of=5)
    assert watched.bar[0] == 10


def test_what_was_done_before_says_nothing_of_the_time_left(jobs) -> None:
    finish(jobs[0], 0.5)
    rounds = jobs[1].folder / "rounds"
    history.save_round(rounds, State(round=4, shared={}), replace(a_record(4), of=10))
    watched = Watched(jobs)
    assert watched.bar == (14, 40, "comparison  1 of 4 runs done, rounds")
    watched.now = 10.0
    watched.round(jobs[1], 3)  # told again from the beginning
    assert watched.watch.left_s is None
    watched.round(jobs[1], 5)
    assert watched.watch.left_s == pytest.approx(250.0)
