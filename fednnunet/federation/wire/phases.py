"""The phases of a training, and which of them a round belongs to.

    pretraining  sites restore masked patches of all their cases, by no label; what they share is
              merged by the mean
    joint     sites train from what is shared, and what they share is merged
    personal  every site goes on alone with all its tensors; nothing but figures leaves it
    public    sites train a public copy of the private tensors on the frozen, shared body; of all
              tensors where the sites' shared tensors differ at the end of the joint phase

The personal models are what the sites hold after the personal phase. The public phase begins from
what was shared when the joint phase ended, so the global model does not depend on the personal
phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["pretraining", "joint", "personal", "public"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """The number of rounds of each phase, in their order.

    `continued` says that the learning rate of the personal phase goes on where the joint phase's
    ended, on one schedule over both; else each phase has a whole schedule of its own.
    """

    joint: int
    personal: int = 0
    public: int = 0
    pretraining: int = 0
    continued: bool = False

    @property
    def joint_end(self) -> int:
        """Rounds after which the joint phase has ended."""
        return self.pretraining + self.joint

    @property
    def own(self) -> int:
        """Rounds after which the sites hold their personal models."""
        return self.joint_end + self.personal

    @property
    def total(self) -> int:
        """Rounds of all phases."""
        return self.own + self.public

    def of(self, number: int) -> Phase:
        """The phase of round `number`, counted from 0."""
        if number < self.pretraining:
            return "pretraining"
        if number < self.joint_end:
            return "joint"
        return "personal" if number < self.own else "public"

    def schedule(self, number: int) -> tuple[int, int]:
        """Where round `number` (from 0) lies in its learning-rate schedule: (place, rounds)."""
        phase = self.of(number)
        if phase == "public":
            return number - self.own, self.public
        if phase == "pretraining":
            return number, self.pretraining
        if self.continued:
            return number - self.pretraining, self.joint + self.personal
        if phase == "personal":
            return number - self.joint_end, self.personal
        return number - self.pretraining, self.joint

    def iterations(self, number: int, each: int) -> tuple[int, int]:
        """As `schedule`, in iterations of a site that does `each` of them in a round."""
        place, rounds = self.schedule(number)
        return place * each, rounds * each
