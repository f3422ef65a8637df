"""When a site leaves the joint training for training alone: the table `[training.guard]`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from fednnunet.errors import InputError
from fednnunet.ranges import Within, check_ranges

MIN_TRIAL = 4
"""Rounds below which a trial says nothing: so short a training has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A trial in the first rounds: each site also trains alone, and goes on with what is better.

    In the rounds of the trial a site trains two models on the same patches: one from what it
    receives, and one that it never shares. Then it compares their losses. Where its own has the
    lower one, the site goes on with it alone, as the baseline "local" would at that learning rate,
    and the others go on without its updates. So nobody ends worse than alone unless the trial was
    mistaken; the price is the share of the iterations that the trial takes.
    """

    share: Annotated[float, Within(0, 1)] = 0.3
    """Share of the joint rounds in which sites train alone as well, which is also the additional
    computing; 0 for no trial. A training whose trial would take fewer than 4 rounds has none, and
    neither has a method by which the sites hold no single network of their own."""
    margin: Annotated[float, Within(0, 10)] = 0.0
    """By how much the loss of training alone must be lower for a site to leave."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.guard]")

    def rounds(self, joint: int) -> int:
        """The rounds of the trial in a training of so many joint rounds; 0 for no trial."""
        rounds = math.ceil(self.share * joint)
        return rounds if rounds >= MIN_TRIAL else 0

    def compared(self, joint: int) -> int:
        """The last rounds of the trial, of which the losses count: half of it."""
        return self.rounds(joint) // 2
