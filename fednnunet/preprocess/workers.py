"""Work over cases in several processes, within a memory bound; a killed worker costs one case.

Processes are spawned, not forked: a forked copy of a large parent would carry its memory along.
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
from fednnunet.errors import DataError, FedNNUNetError, ManyFaults, StorageError, raise_all
from fednnunet.files import storage_error

Progress = Callable[[int, int, str], None]
Job = TypeVar("Job")
Result = TypeVar("Result")

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # no job fares better
_BASE_GIB = 0.2  # a worker's own size: interpreter and libraries
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Header:
    """What a case's size is judged by, before any voxel is read."""

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
    """How many workers fit `memory_gib` if each had the largest case: at least one.

    `bytes_of` gives the peak memory that a case takes.
    """
    workers = max(1, min(workers, len(cases)))
    if memory_gib is None or workers == 1:
        return workers
    largest = max((bytes_of(header) for case in cases if (header := _header(case))), default=0.0)
    return max(1, min(workers, int(memory_gib / (_BASE_GIB + largest / 2**30))))


def bytes_to_read(header: Header) -> float:
    """Peak memory of reading a case and looking at all of it."""
    return header.voxels * (6 * header.channels + 6)


def _header(case: Case) -> Header | None:
    """By the first channel's file; `None` if it cannot be read, which is found out later."""
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

    Faults of all jobs are raised together at the end, after every other job is done; StorageError
    at once.
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
    """Results by name, and the faults of the jobs that gave none.

    One worker works in this process. A worker that dies is a fault of the job it had.
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
    """Why a job gave no result."""

    faults: tuple[FedNNUNetError, ...]


def _attempt(work: Callable[[Job], Result], job: Job) -> Result | _Failed:
    try:
        return work(job)
    except ManyFaults as many:
        return _Failed(many.faults)
    except FedNNUNetError as fault:
        return _Failed((fault,))
    except MemoryError:
        return _Failed((DataError("not enough memory for this case", mend="use fewer workers"),))
    except OSError as error:
        found = storage_error(error, Path(os.fsdecode(error.filename or ".")))
        if found and error.errno in _DISK:
            return _Failed((found,))
        return _Failed((DataError(f"a file could not be read or written: {error}"),))


@dataclass(slots=True)
class _Worker:
    """A process, and the job that it has: none before it says that it is there."""

    process: BaseProcess
    pipe: Connection
    job: str = ""


def _spawned(
    work: Callable[[Job], Result], jobs: Mapping[str, Job], workers: int
) -> Iterator[tuple[str, Any]]:
    """Outcomes as they come, from `workers` processes; one that dies at a job is replaced."""
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
    """Let a process started here use `count` threads, unless the user has said how many.

    The libraries read this once, on import; left to themselves, each worker would take all cores.
    """
    added = [name for name in _THREADS if name not in os.environ]
    try:
        os.environ.update(dict.fromkeys(added, str(count)))
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _serve(work: Callable[[Job], Result], pipe: Connection) -> None:
    """A worker's life: say that it is there, take jobs, send outcomes, until the pipe closes."""
    pipe.send(None)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(_attempt(work, job))


def _give(worker: _Worker, name: str, jobs: Mapping[str, Job]) -> None:
    worker.job = name
    with suppress(BrokenPipeError):  # it died meanwhile, which `_take` finds
        worker.pipe.send(jobs[name])


def _take(worker: _Worker) -> tuple[str, Any, bool]:
    """The job that is done ("": none yet), its outcome, and whether the worker lives.

    Raises FedNNUNetError if the worker died before it had a job: any other would die as well.
    """
    try:
        return worker.job, worker.pipe.recv(), True
    except (EOFError, ConnectionResetError):
        worker.process.join()
        code = worker.process.exitcode
    if not worker.job:
        raise FedNNUNetError(
            f"a worker process ended at its start (exit code {code})",
            mend="see what it printed above; with one worker no process is started",
        )
    fault = DataError(
        f"the worker was killed (exit code {code}) while it had this case",
        mend="perhaps memory ran out: use fewer workers or a smaller memory_gib",
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
    where = f"case {name}, {fault.where}" if fault.where else f"case {name}"
    return DataError(fault.what, where=where, mend=fault.mend)
