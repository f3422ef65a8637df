"""Process cases in several worker processes within a memory limit; a killed worker loses one case.

Processes are spawned and not forked, since a forked worker would share the memory of its parent.
"""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from fednnunet import io
from fednnunet.dataset import Case
from fednnunet.errors import (
    DataError,
    FedNNUNetError,
    ManyFaults,
    OutOfMemoryError,
    StorageError,
    WorkerError,
    raise_all,
)
from fednnunet.files import storage_error
from fednnunet.progress import Progress

Job = TypeVar("Job")
Result = TypeVar("Result")

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # every other job would fail, too
_BASE_GIB = 0.2  # memory of an idle worker: interpreter and libraries
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Header:
    """Size of a case from its header, before any voxel is read."""

    shape_vox: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    channels: int

    @property
    def voxels(self) -> int:
        """Voxels of one channel."""
        return math.prod(self.shape_vox)


def affordable(
    cases: Sequence[Case],
    workers: int,
    memory_gib: float | None,
    *,
    bytes_of: Callable[[Header], float],
) -> int:
    """Number of workers that fit into `memory_gib` if each has the largest case; at least one.

    `bytes_of` gives the peak memory for a case.
    """
    workers = max(1, min(workers, len(cases)))
    if memory_gib is None or workers == 1:
        return workers
    largest = max((bytes_of(header) for case in cases if (header := _header(case))), default=0.0)
    return max(1, min(workers, int(memory_gib / (_BASE_GIB + largest / 2**30))))


def bytes_to_read(header: Header) -> float:
    """Peak memory of reading a case and checking all of its voxels."""
    return header.voxels * (6 * header.channels + 6)


def _header(case: Case) -> Header | None:
    """The header of the first channel; `None` if it cannot be read, which is reported later."""
    try:
        shape, spacing = io.read_header(case.images[0])
    except FedNNUNetError:
        return None
    return Header(shape, spacing, len(case.images))


def run_jobs(
    work: Callable[[Job], Result],
    jobs: Mapping[str, Job],
    *,
    workers: int,
    progress: Progress | None,
    what: str,
) -> dict[str, Result]:
    """Run `work` on every job (name to job) and return the results by name.

    The faults of all jobs are raised together after the last job, but StorageError at once.
    """
    results, faults = try_jobs(work, jobs, workers=workers, progress=progress, what=what)
    raise_all(f"{what} failed for some of {len(jobs)} cases", faults)
    return results


def try_jobs(
    work: Callable[[Job], Result],
    jobs: Mapping[str, Job],
    *,
    workers: int,
    progress: Progress | None,
    what: str,
) -> tuple[dict[str, Result], tuple[FedNNUNetError, ...]]:
    """Results by name, and the faults of the jobs that failed.

    With one worker, jobs run in this process. If a worker is killed, its job has a fault.
    """
    report = progress or (lambda done, total, what: None)
    report(0, len(jobs), what)
    results: dict[str, Result] = {}
    faults: list[FedNNUNetError] = []
    outcomes = _here(work, jobs) if workers <= 1 else _spawned(work, jobs, workers)
    for done, (name, result) in enumerate(outcomes, start=1):
        if isinstance(result, _Failed):
            stop = next((f for f in result.faults if isinstance(f, StorageError)), None)
            if stop is not None:  # no other job would fare better
                raise stop
            faults += [_named(fault, name) for fault in result.faults]
        else:
            results[name] = result
        report(done, len(jobs), what)
    return results, tuple(faults)


def _here(work: Callable[[Job], Result], jobs: Mapping[str, Job]) -> Iterator[tuple[str, Any]]:
    for name, job in jobs.items():
        yield name, _attempt(work, job)


@dataclass(frozen=True, slots=True)
class _Failed:
    """The faults of a job that failed."""

    faults: tuple[FedNNUNetError, ...]


def _attempt(work: Callable[[Job], Result], job: Job) -> Result | _Failed:
    try:
        return work(job)
    except ManyFaults as many:
        return _Failed(many.faults)
    except FedNNUNetError as fault:
        return _Failed((fault,))
    except MemoryError:
        lack = OutOfMemoryError(
            "not enough memory for this case", mend="use fewer workers, or more memory"
        )
        return _Failed((lack,))
    except OSError as error:
        found = storage_error(error, Path(os.fsdecode(error.filename or ".")))
        if found and error.errno in _DISK:
            return _Failed((found,))
        unreadable = DataError(
            f"a file could not be read or written: {error}",
            mend="check the disk's free space and the rights to the file, then run it again",
        )
        return _Failed((unreadable,))


@dataclass(slots=True)
class _Worker:
    """A process and the job that it works on; none until the process has started."""

    process: BaseProcess
    pipe: Connection
    job: str = ""


def _spawned(
    work: Callable[[Job], Result], jobs: Mapping[str, Job], workers: int
) -> Iterator[tuple[str, Any]]:
    """Outcomes in the order of completion, from `workers` processes; killed ones are replaced."""
    waiting = deque(jobs)
    active: list[_Worker] = []
    try:
        while waiting or active:
            starting = sum(not worker.job for worker in active)
            for _ in range(min(workers - len(active), len(waiting) - starting)):
                active.append(_start(work, workers))
            ready = wait([worker.pipe for worker in active])
            for worker in [w for w in active if w.pipe in ready]:
                done, outcome, alive = _take(worker)
                if alive and waiting:
                    _give(worker, waiting.popleft(), jobs)
                else:
                    active.remove(worker)
                    _stop(worker)
                if done:
                    yield done, outcome
    finally:
        for worker in active:
            worker.process.terminate()
            _stop(worker)


def _start(work: Callable[[Job], Result], workers: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(work, there), daemon=True)
    with _threads(max(1, (os.cpu_count() or 1) // workers)):
        process.start()
    there.close()
    return _Worker(process, here)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let a process started here use `count` threads, unless the user has set a number.

    The libraries read these variables on import; by default each worker would use all cores.
    """
    added = [name for name in _THREADS if name not in os.environ]
    try:
        os.environ.update(dict.fromkeys(added, str(count)))
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _serve(work: Callable[[Job], Result], pipe: Connection) -> None:
    """The loop of a worker: announce the start, then receive jobs and send outcomes."""
    pipe.send(None)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(_attempt(work, job))


def _give(worker: _Worker, name: str, jobs: Mapping[str, Job]) -> None:
    worker.job = name
    with suppress(BrokenPipeError):  # the worker was killed, which `_take` reports
        worker.pipe.send(jobs[name])


def _take(worker: _Worker) -> tuple[str, Any, bool]:
    """The finished job ("" at the start), its outcome, and whether the worker is alive.

    Raises WorkerError if the worker ended before its first job, as any other would.
    """
    try:
        return worker.job, worker.pipe.recv(), True
    except (EOFError, ConnectionResetError):
        worker.process.join()
        code = worker.process.exitcode
    if not worker.job:
        raise WorkerError(
            f"a worker process ended at its start (exit code {code})",
            mend="read its messages above; with one worker no process is started",
        )
    fault = WorkerError(
        f"the worker was killed (exit code {code}) while it processed this case",
        mend="if memory ran out, use fewer workers or a smaller memory_gib",
    )
    return worker.job, _Failed((fault,)), False


def _stop(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.join()


def _named(fault: FedNNUNetError, name: str) -> FedNNUNetError:
    """The fault with the case's name in `where`."""
    text = str(fault)
    if any(form in text for form in (f"case {name}", f"{name}.", f"{name}_")):
        return fault
    fault.where = f"case {name}, {fault.where}" if fault.where else f"case {name}"
    return fault
