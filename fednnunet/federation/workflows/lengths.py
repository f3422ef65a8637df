"""How long the trainings of a federation file are, known before they begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from fednnunet.federation.coordinator.extension import extended
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.membership import present
from fednnunet.federation.spec import Federation
from fednnunet.network.tensors import Tensors
from fednnunet.training.initial import plan_network


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLength:
    """The iterations of all sites together in each round of a run.

    Where only some sites take part in a round, their mean number.
    """

    name: str
    method: str
    rounds: tuple[int, ...]

    @property
    def iterations(self) -> int:
        """Of all rounds."""
        return sum(self.rounds)


class Watch(Protocol):
    """Follows a training from its beginning; called in this process, while sites work."""

    def begin(self, lengths: Sequence[RunLength], /) -> None:
        """Before anything is trained: how long all runs are, with the rounds done already."""
        ...

    def iteration(self, site: str, done: int, total: int, /) -> None:
        """A site has done so many of its iterations in this round."""
        ...


def run_length(federation: Federation, run: Run) -> RunLength:
    """The length of one run of a federation file."""
    phases, training = run.phases(network_of(run)), run.training
    members = federation.members
    rounds = []
    for number in range(phases.total):
        if run.kind == "pooled":
            rounds.append(training.iterations_per_round)
            continue
        each = [
            members[site].iterations or training.iterations_per_round
            for site in present(members, number)
        ]
        some = training.sites_per_round if phases.of(number) == "joint" else 0
        share = min(some, len(each)) / len(each) if some and each else 1.0
        rounds.append(round(sum(each) * share))
    return RunLength(name=run.name, method=run.method_name, rounds=tuple(rounds))


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
