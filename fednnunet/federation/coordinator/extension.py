"""More rounds for a training that has begun or ended: what may change, and its learning rate.

The numbers of rounds in the federation file may be changed as long as every round that is done
keeps its number and its phase: rounds are added to the phase in which the training stands, or
phases after it. A training that has had public rounds gets no further joint ones, since what came
after these would have begun from another model.

The learning rate follows one rule, at the coordinator and at the sites (`Phases.schedule`): a round
has the rate that it has in a training of all rounds of its phase, as the file now says. Of 3 rounds
extended to 4 with nnU-Net's schedule, learning_rate * (1 - t) ** 0.9, the fourth begins at t = 3/4
with 0.29 of the first rate. So the rate, which fell to zero at the end of the third round, rises
again, and the model learns in the added round; a schedule that went on from its end would change
nothing. nnU-Net does the same where training is continued (`--c`) with a larger `num_epochs`. The
rounds that are done are not repeated: the weights differ from those of 4 rounds in one go, whose
rates fall more slowly. Pseudo-labels and methods that depend on the share of rounds that are done
(FedEase) follow the new number, too.

Each site must approve the larger number (`site.approval`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fednnunet.errors import InputError
from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.wire.phases import Phases
from fednnunet.text import plural


def check_rounds_done(found: Sequence[RoundRecord], phases: Phases, folder: Path) -> None:
    """Raise InputError where rounds that are done would have another phase, or would not exist."""
    for record in found:
        if record.round > phases.total:
            raise InputError(
                f"{plural(len(found), 'round')} are done, and the federation file has "
                f"{phases.total} now",
                where=str(folder),
                mend=f"give at least {len(found)} rounds in all, or train in another run folder",
            )
        now = phases.of(record.round - 1)
        if now != record.phase:
            raise InputError(
                f"round {record.round} was {record.phase}, and by the federation file it would be "
                f"{now} now",
                where=str(folder),
                mend=f"add rounds to the last one's phase ({found[-1].phase}) only, or train in "
                "another run folder",
            )


def extended(found: Sequence[RoundRecord], phases: Phases) -> str:
    """In words: that a training has more or fewer rounds than it had; empty where it has not."""
    if not found or found[-1].of in (0, phases.total):
        return ""
    return (
        f"{phases.total} rounds in place of {found[-1].of}; done so far: {len(found)}. Each added "
        "round has the learning rate that it has in a training of so many rounds"
    )
