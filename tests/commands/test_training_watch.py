"""The bar of a whole training, and the estimate of its time, by a clock of the test's own."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fednnunet import records
from fednnunet.commands import training_watch
from fednnunet.commands.training_watch import TrainingWatch, slow_hint
from fednnunet.device import Machine
from fednnunet.federation.spec import Budget, Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.workflows.lengths import RunLength
from fednnunet.task import Task
from tests.federation.coordinator.test_history import a_record
from tests.federation.fakes import a_run

LENGTHS = (
    RunLength(name="", method="fedavg", rounds=(20,) * 10),
    RunLength(name="baselines/local", method="local", rounds=(20,) * 5),
)


class Watched:
    """A watch whose clock advances by `seconds` with each iteration, and all that it shows."""

    def __init__(self, folder: Path, seconds: float, *, hint: str = "") -> None:
        self.now, self.seconds = 0.0, seconds
        self.console = Console(file=io.StringIO(), width=60)
        self.bars: list[tuple[int, int, str]] = []
        show = lambda *bar: self.bars.append(bar)  # noqa: E731
        self.watch = TrainingWatch(self.console, show, hint=hint, clock=lambda: self.now)
        self.watch.begin(LENGTHS)
        self.run = a_run(folder)

    def train(self, site: str, last: int, first: int = 1) -> None:
        for done in range(first, last + 1):
            self.now += self.seconds
            self.watch.iteration(site, done, 10)

    @property
    def text(self) -> str:
        return self.console.file.getvalue()


def test_the_estimate_comes_once_after_the_first_iterations(tmp_path):
    watched = Watched(tmp_path, 0.5)
    watched.train("north", 3)
    assert "estimate" not in watched.text
    watched.train("north", 4, first=4)
    assert "estimate: 0.5 s an iteration, 296 of 300 iterations left: 0:02:28" in watched.text
    watched.train("north", 10, first=5)
    watched.train("south", 10)
    assert watched.text.count("estimate") == 1


def test_short_rounds_are_estimated_by_the_first_round(tmp_path):
    watched = Watched(tmp_path, 1.0)
    watched.watch.begin([RunLength(name="", method="fedavg", rounds=(2, 2, 2))])
    watched.train("north", 1)
    watched.train("south", 1)
    assert "estimate" not in watched.text
    watched.watch.round(watched.run, a_record(1, of=3))
    assert "4 of 6 iterations left: 0:00:04" in watched.text


def test_one_bar_counts_the_iterations_of_all_sites_rounds_and_runs(tmp_path):
    watched = Watched(tmp_path, 1.0)
    watched.train("north", 10)
    watched.train("south", 10)
    watched.watch.round(watched.run, a_record(1, of=10))
    watched.train("north", 1)
    done, total, text = watched.bars[-1]
    assert (done, total) == (21, 300)
    assert text == "fedavg  round 2 of 10, 0:04:39 left, iterations"
    watched.watch.round(watched.run, a_record(10, of=10))
    assert watched.bars[-1][2].startswith("local  round 1 of 5")


def test_rounds_that_are_done_already_do_not_count_for_the_speed(tmp_path):
    watched = Watched(tmp_path, 2.0)
    watched.watch.round(watched.run, a_record(9, of=10))
    assert watched.watch.left_s is None
    watched.train("north", 4)
    assert watched.watch.left_s == 2.0 * (300 - 184)


@pytest.mark.parametrize(("seconds", "hinted"), [(0.5, False), (60.0, True)])
def test_the_hint_is_for_trainings_of_hours(tmp_path, seconds, hinted):
    watched = Watched(tmp_path, seconds, hint="take a GPU")
    watched.train("north", 4)
    assert ("take a GPU" in watched.text) == hinted


def test_the_hint_names_what_is_not_done_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(training_watch, "observe", lambda: Machine(cuda_devices=1))
    task = Task(name="t", channels=("CT",), labels=("background", "organ"))
    sites = {name: SiteSpec(folder=tmp_path / name) for name in ("a", "b")}
    slow = Federation(task=task, sites=sites, training=Training(recipe="nnunet", device="cpu"))
    records.write(slow, tmp_path / "federation.json")
    assert slow_hint(tmp_path, "cuda") == ""
    assert '--planner cpu, recipe = "fast", a GPU' in slow_hint(tmp_path, None)
    quick = replace(slow, budget=Budget(planner="cpu"), training=Training(device="cpu"))
    records.write(quick, tmp_path / "federation.json")
    assert "planner" not in slow_hint(tmp_path, None) and "recipe" not in slow_hint(tmp_path, None)
