"""Training between two exchanges: the function that a site calls."""

from __future__ import annotations

from fednnunet.training.device import Execution
from fednnunet.training.local_job import LocalJob
from fednnunet.training.local_training import train_in_process
from fednnunet.training.parallel import train_on_devices
from fednnunet.training.state import TrainingState
from fednnunet.training.summary import TrainSummary


def train(state: TrainingState, job: LocalJob, execution: Execution) -> TrainSummary:
    """Train `state` in place for the job's iterations.

    With `execution.devices` above 1 one process per GPU is started; the parts of the job's local
    rule must then be importable. Raises FedNNUNetError if the loss is no longer finite.
    """
    if execution.devices > 1:
        return train_on_devices(state, job, execution)
    return train_in_process(state, job, execution)
