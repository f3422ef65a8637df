import os
import signal
import sys
import types

import numpy as np
import pytest

from fednnunet import io
from fednnunet.dataset import Case
from fednnunet.errors import DataError, FedNNUNetError, ManyFaults, raise_all
from fednnunet.preprocess.workers import Header, affordable, bytes_to_read, run_jobs, try_jobs
from fednnunet.volume import Geometry, Volume


def work(job):
    """What the workers of these tests do; at the top of the module, so that it can be sent."""
    if job == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "fail":
        raise DataError("this case is bad", where="here", mend="mend it")
    if job == "two":
        raise_all("case", [DataError("first"), DataError("second")])
    if job == "disk":
        raise OSError("no space left on device")
    if job == "threads":
        return os.environ["OMP_NUM_THREADS"]
    return job * 2


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_by_name_and_progress_is_told(workers):
    told = []
    jobs = {f"c{i}": i for i in range(5)}
    results = run_jobs(
        work, jobs, workers=workers, progress=lambda *args: told.append(args), what="double"
    )
    assert results == {f"c{i}": 2 * i for i in range(5)}
    assert told == [(done, 5, "double") for done in range(6)]


@pytest.mark.parametrize("workers", [1, 2])
def test_faults_come_together_after_everything_else_is_done(workers):
    jobs = {"a": "fail", "b": "two", "c": "disk", "d": 4}
    results, faults = try_jobs(work, jobs, workers=workers, progress=None, what="x")
    assert results == {"d": 8}
    assert len(faults) == 4
    text = "\n".join(map(str, faults))
    for words in ("case a, here", "mend it", "first", "second", "case b", "no space left"):
        assert words in text
    with pytest.raises(ManyFaults, match="4 faults"):
        run_jobs(work, jobs, workers=workers, progress=None, what="x")


def test_a_killed_worker_is_named_with_its_case_and_the_rest_goes_on():
    jobs = {"a": 1, "victim": "die", "b": 2, "c": 3, "d": 4}
    results, faults = try_jobs(work, jobs, workers=2, progress=None, what="x")
    assert results == {"a": 2, "b": 4, "c": 6, "d": 8}
    (fault,) = faults
    assert "exit code -9" in fault.what
    assert "victim" in fault.where
    assert "memory" in fault.mend


def test_workers_that_cannot_start_are_one_fault_and_not_one_of_every_case(monkeypatch, capfd):
    elsewhere = types.ModuleType("known_to_this_process_only")
    exec("def work(job): return job", elsewhere.__dict__)
    monkeypatch.setitem(sys.modules, elsewhere.__name__, elsewhere)
    jobs = {f"c{i}": i for i in range(20)}
    with pytest.raises(FedNNUNetError, match="at its start") as caught:
        try_jobs(elsewhere.work, jobs, workers=2, progress=None, what="x")
    assert "one worker" in caught.value.mend
    assert 1 <= capfd.readouterr().err.count("No module named 'known_to") <= 2


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    jobs = {"a": "threads", "b": "threads"}
    results = run_jobs(work, jobs, workers=2, progress=None, what="x")
    assert results == {"a": "3", "b": "3"}
    assert "OMP_NUM_THREADS" not in os.environ


def test_memory_bounds_the_number_of_workers(tmp_path):
    geometry = Geometry(spacing_mm=(2.0, 1.0, 1.0))
    cases = []
    for number, size in enumerate((4, 40)):
        path = tmp_path / f"c{number}_0000.nii.gz"
        io.write_volume(Volume(array=np.zeros((1, size, 50, 60)), geometry=geometry), path)
        cases.append(Case(name=f"c{number}", images=(path,), label=None, group=""))
    cases *= 4
    seen = []

    def bytes_of(header):
        seen.append(header)
        return header.voxels / 120_000 * 2**30  # the largest case takes 1 GiB

    assert affordable(cases, 8, 6.1, bytes_of=bytes_of) == 5
    assert Header((40, 50, 60), (2.0, 1.0, 1.0), 1) in seen
    assert affordable(cases, 2, 6.1, bytes_of=bytes_of) == 2
    assert affordable(cases, 8, 0.1, bytes_of=bytes_of) == 1
    assert affordable(cases, 8, None, bytes_of=bytes_of) == 8
    assert affordable(cases[:1], 8, None, bytes_of=bytes_to_read) == 1
