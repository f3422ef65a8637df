"""Work over cases in several processes, within a memory bound; a killed worker costs one case.

Processes are spawned, not forked: a forked copy of a large parent would carry its memory along.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from fednnunet import io
from fednnunet.dataset import Case
from fednnunet.errors import DataError, FedNNUNetError, ManyFaults, raise_all

Progress = Callable[[int, int, str], None]
Job = TypeVar("Job")
Result = TypeVar("Result")

_BASE_GIB = 0.2  # a worker's own size: interpreter and libraries


def affordable(
    cases: Sequence[Case], workers: int, memory_gib: float | None, *, bytes_per_voxel: float
) -> int:
    """How many workers fit `memory_gib`, judged by the largest case's header: at least one."""
    workers = max(1, min(workers, len(cases)))
    if memory_gib is None or workers == 1:
        return workers
    largest = max((_voxels(case) for case in cases), default=0)
    each = _BASE_GIB + largest * bytes_per_voxel / 2**30
    return max(1, min(workers, int(memory_gib / each)))


def _voxels(case: Case) -> int:
    """Voxels of all channels by the first channel's header; 0 if it cannot be read."""
    try:
        z, y, x = io.read_header(case.images[0])[0]
    except FedNNUNetError:
        return 0
    return z * y * x * len(case.images)


def run_jobs(
    work: Callable[[Job], Result],
    jobs: Mapping[str, Job],
    *,
    workers: int,
    progress: Progress | None,
    what: str,
) -> dict[str, Result]:
    """Run `work` on every job (name to job) and return the results by name.

    Faults of all jobs are raised together at the end, after every other job is done.
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
        return _Failed((DataError(f"a file could not be read or written: {error}"),))


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    name: str = ""


def _spawned(
    work: Callable[[Job], Result], jobs: Mapping[str, Job], workers: int
) -> Iterator[tuple[str, Any]]:
    """Outcomes as they come, from `workers` processes; a dead one is replaced."""
    waiting = deque(jobs)
    active: list[_Worker] = []
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                active.append(_start(work))
                _give(active[-1], waiting.popleft(), jobs)
            ready = wait([worker.pipe for worker in active])
            for worker in [w for w in active if w.pipe in ready]:
                name, outcome, alive = _take(worker)
                if alive and waiting:
                    _give(worker, waiting.popleft(), jobs)
                else:
                    active.remove(worker)
                    _stop(worker)
                yield name, outcome
    finally:
        for worker in active:
            worker.process.terminate()
            _stop(worker)


def _start(work: Callable[[Job], Result]) -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(work, there), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _serve(work: Callable[[Job], Result], pipe: Connection) -> None:
    """A worker's life: take a job, send its outcome, until the pipe closes."""
    while True:
        try:
            job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(_attempt(work, job))


def _give(worker: _Worker, name: str, jobs: Mapping[str, Job]) -> None:
    worker.name = name
    worker.pipe.send(jobs[name])


def _take(worker: _Worker) -> tuple[str, Any, bool]:
    """The outcome of a worker's job, and whether the worker lives."""
    try:
        return worker.name, worker.pipe.recv(), True
    except (EOFError, ConnectionResetError):
        worker.process.join()
        code = worker.process.exitcode
        fault = DataError(
            f"the worker was killed (exit code {code}) while it had this case",
            mend="perhaps memory ran out: use fewer workers or a smaller memory_gib",
        )
        return worker.name, _Failed((fault,)), False


def _stop(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.join()


def _named(fault: FedNNUNetError, name: str) -> FedNNUNetError:
    """The fault with the case's name in `where`."""
    if name in str(fault):
        return fault
    where = f"case {name}, {fault.where}" if fault.where else f"case {name}"
    return DataError(fault.what, where=where, mend=fault.mend)
