"""How long the trainings of a federation file are, known before they begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from fednnunet.federation.coordinator.extension import extended
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.coordinator.run import Run
from fednnunet.network.tensors import Tensors
from fednnunet.training.initial import plan_network


def network_of(run: Run) -> Tensors:
    """A tensor without content of each name, shape and type of the run's network."""
    with torch.device("meta"):
        configuration = run.plan.configuration(run.training.configuration)
        return plan_network(run.plan, configuration).state_dict()


def extension_notes(runs: Sequence[Run]) -> Iterator[str]:
    """One line for each run that has more or fewer rounds than when it was trained last."""
    for run in runs:
        note = extended(load_records(run.folder / "rounds"), run.phases(network_of(run)))
        if note:
            yield f"{run.method_name}: {note}"
