"""A site's training states on its disk, by run, phase and round.

The state that a round began from is kept until the next round has ended, so that a round that is
asked for again after a crash gives the same reply, bit for bit. Which state that is the invite
says: a round of the site that was lost or refused is not continued from.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fednnunet.errors import InputError
from fednnunet.federation.wire.phases import Phase
from fednnunet.training import state as files
from fednnunet.training.state import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class StateStore:
    """The states of one training in `folder`; `site` is for messages.

    The public phase trains a copy of the network: its states have folders of their own.
    """

    folder: Path
    site: str

    def load(self, state: TrainingState, phase: Phase, rounds: int) -> None:
        """Load what was saved after `rounds` rounds; raises InputError where there is nothing."""
        folder = self._place(phase, rounds)
        if not files.load(state, folder):
            raise InputError(
                f"the site holds no state of {folder.name}",
                where=f"site {self.site}, {folder}",
                mend="restore the site's folder, or train in a new run folder",
                advice="restore_state",
            )

    def save(self, state: TrainingState, phase: Phase, rounds: int) -> None:
        """Save a state as that after `rounds` rounds: whole or not at all."""
        files.save(state, self._place(phase, rounds))

    def forget_before(self, phase: Phase, rounds: int) -> None:
        """Remove the states of fewer rounds: those before the one that the last round began from.

        No round can need them any more.
        """
        kind = self._place(phase, rounds).name.split("_")[0]
        for folder in self.folder.glob(f"{kind}_[0-9]*"):
            number = folder.name.removeprefix(f"{kind}_")
            if number.isdecimal() and int(number) < rounds:
                shutil.rmtree(folder, ignore_errors=True)

    def _place(self, phase: Phase, rounds: int) -> Path:
        kind = "public" if phase == "public" else "round"
        return self.folder / f"{kind}_{rounds:04d}"
