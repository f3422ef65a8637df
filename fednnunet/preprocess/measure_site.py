"""Measure all cases of a site, several at a time; each image is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fednnunet.dataset import Case
from fednnunet.errors import DataError
from fednnunet.planning.fingerprint import CaseFingerprint
from fednnunet.preprocess.load import load_case
from fednnunet.preprocess.measure import measure_case
from fednnunet.preprocess.workers import affordable, bytes_to_read, run_jobs
from fednnunet.progress import Progress
from fednnunet.task import Task


def measure_cases(
    cases: Sequence[Case],
    task: Task,
    *,
    workers: int = 1,
    memory_gib: float | None = None,
    progress: Progress | None = None,
) -> tuple[CaseFingerprint, ...]:
    """The fingerprints of a site's cases, in the order of `cases`; they stay at the site.

    `memory_gib` bounds all workers together. The faults of all cases are raised together.
    """
    jobs = {case.name: _Job(case, task) for case in cases}
    count = affordable(cases, workers, memory_gib, bytes_of=bytes_to_read)
    found = run_jobs(_measure, jobs, workers=count, progress=progress, what="measure")
    return tuple(found[case.name] for case in cases)


@dataclass(frozen=True, slots=True)
class _Job:
    case: Case
    task: Task


def _measure(job: _Job) -> CaseFingerprint:
    volume, label = load_case(job.case, job.task)
    if label is None:
        raise DataError(f"case {job.case.name} has no label", mend="add its label map to labelsTr")
    return measure_case(volume, label, job.task, job.case.labels.supervision)
