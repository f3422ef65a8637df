"""The number of CPU threads of a run: chosen once, written down, and kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fednnunet import cores, records
from fednnunet.cores import Cores
from fednnunet.training.threads import FILE, Threads, choose_threads, threads_of_run, using

IDLE = Cores(present=4, load=0.1, busy=0.0)
BUSY = Cores(present=4, load=5.0, busy=3.1)


@pytest.fixture(autouse=True)
def _four_threads() -> Iterator[None]:
    with using(Threads(count=4, reason="of the test")):
        yield


def test_an_idle_machine_gets_torchs_own_number() -> None:
    assert choose_threads(IDLE, 4).count == 4
    assert choose_threads(IDLE, 2).count == 2  # OMP_NUM_THREADS, or fewer cores than threads


def test_a_busy_machine_or_a_small_container_gets_fewer() -> None:
    busy = choose_threads(BUSY, 4)
    assert str(busy) == "1 CPU thread: 3 of 4 cores are used by others"
    small = choose_threads(Cores(present=4, quota=2.0), 4)
    assert str(small) == "2 CPU threads: as many cores as this process may use"


def test_a_run_keeps_what_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "look", lambda: BUSY)
    begun = threads_of_run(tmp_path, 0)
    assert begun.count == 1
    monkeypatch.setattr(cores, "look", lambda: IDLE)
    assert threads_of_run(tmp_path, 0) == begun == records.read(Threads, tmp_path / FILE)
    assert threads_of_run(tmp_path / "another", 0).count == 4


def test_a_number_that_is_set_is_used_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "look", lambda: IDLE)
    assert threads_of_run(tmp_path, 0).count == 4
    assert threads_of_run(tmp_path, 3) == Threads(count=3, reason="training.threads")
    assert threads_of_run(tmp_path, 0).count == 3


def test_beside_other_runs_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "look", lambda: BUSY)
    assert threads_of_run(tmp_path, 0, alone=False).count == 4


def test_the_number_holds_within_the_context_only() -> None:
    with using(Threads(count=2, reason="")):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 4
