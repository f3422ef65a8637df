"""What a reply to train says of how the site trained: codes made from settings and figures.

The reasons in words, which training gives as well, stay in the site's log.
"""

from __future__ import annotations

from fednnunet.federation.wire.notes import SENTENCES, Note
from fednnunet.training.device import Execution
from fednnunet.training.local_job import LocalJob
from fednnunet.training.step import samples_at_once
from fednnunet.training.summary import TrainSummary


def training_notes(
    summary: TrainSummary, job: LocalJob, execution: Execution, *, first: bool
) -> tuple[Note, ...]:
    """The notes of a round: of the device in a site's `first`, of a lack of memory in any."""
    notes = list(_of_execution(execution)) if first else []
    plan, configuration = job.plan, job.configuration
    ignores = plan.task.ignore is not None
    if execution.devices > 1 and (ignores or configuration.batch_dice or plan.norm == "batch"):
        notes.append(Note(code="share_of_batch", numbers=(execution.devices,)))
    wanted = samples_at_once(job, execution)
    if summary.micro_batch < wanted:
        notes.append(Note(code="out_of_memory", numbers=(wanted, summary.micro_batch)))
    return tuple(notes)


def _of_execution(execution: Execution) -> list[Note]:
    code = f"{execution.device.kind}_{execution.device.precision}"
    notes = [Note(code=next((c for c in SENTENCES if c == code), "other_device"))]
    if execution.devices > 1:
        notes.append(Note(code="gpus", numbers=(execution.devices,)))
    if execution.workers:
        notes.append(Note(code="batch_workers", numbers=(execution.workers,)))
    if execution.compile:
        notes.append(Note(code="compiled"))
    if execution.micro_batch is not None:
        notes.append(Note(code="micro_batch", numbers=(execution.micro_batch,)))
    return notes
