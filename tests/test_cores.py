"""How many cores are free, from what the system tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet import cores
from fednnunet.cores import Cores, look


@pytest.mark.parametrize(
    ("found", "free"),
    [
        (Cores(present=8), 8),  # a system that tells nothing
        (Cores(present=8, load=0.2, busy=0.1), 8),
        (Cores(present=8, load=6.0, busy=5.6), 2),
        (Cores(present=8, load=6.0, busy=0.1), 8),  # what worked a minute ago has ended
        (Cores(present=8, load=0.1, busy=8.0), 8),  # a moment's work
        (Cores(present=2, load=9.0, busy=2.0), 1),
        (Cores(present=64, quota=2.5, load=60.0, busy=60.0), 2),  # the load is the whole machine's
        (Cores(present=64, quota=0.5), 1),
    ],
)
def test_a_core_is_free_that_nobody_uses_and_the_container_allows(found: Cores, free: int) -> None:
    assert found.free == free


def test_this_machine_has_at_least_one_free_core() -> None:
    found = look(seconds=0.05)
    assert 1 <= found.free <= found.allowed <= found.present


def make_system(root: Path) -> Path:
    """A process in the group /hospital/job, limited to three cores by the group around it."""
    (root / "self").mkdir(parents=True)
    (root / "self" / "cgroup").write_text("0::/hospital/job\n")
    (root / "stat").write_text("cpu 9 9 9 9\ncpu0 10 0 10 70 10 0 0 0 5 5\nintr 1\n")
    group = root / "cgroup" / "hospital" / "job"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("max 100000\n")
    (group.parent / "cpu.max").write_text("300000 100000\n")
    return root


def test_the_limit_of_every_group_around_the_process_counts(tmp_path: Path) -> None:
    root = make_system(tmp_path)
    assert look(proc=root, cgroup=root / "cgroup", seconds=0).quota == 3
    old = root / "cgroup" / "cpu"
    old.mkdir()
    (old / "cpu.cfs_quota_us").write_text("150000\n")
    (old / "cpu.cfs_period_us").write_text("100000\n")
    assert look(proc=root, cgroup=root / "cgroup", seconds=0).quota == 1.5
    (old / "cpu.cfs_quota_us").write_text("-1\n")
    assert look(proc=root, cgroup=root / "cgroup", seconds=0).quota == 3


def test_work_is_what_is_neither_idle_nor_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_system(tmp_path)
    later = "cpu0 90 0 10 80 20 0 0 0 5 5\n"  # 80 ticks of work, 20 of rest
    monkeypatch.setattr(cores, "_own_cores", lambda: frozenset({0}))
    monkeypatch.setattr(cores.time, "sleep", lambda seconds: (root / "stat").write_text(later))
    assert look(proc=root, cgroup=root).busy == pytest.approx(0.8)


def test_a_system_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cores.os, "getloadavg", raising=False)
    monkeypatch.delattr(cores.os, "sched_getaffinity", raising=False)
    found = look(proc=tmp_path, cgroup=tmp_path)
    assert found == Cores(present=cores.os.cpu_count() or 1)
