"""The two messages of a round of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from fednnunet.evaluation.scores import MAX_CASES
from fednnunet.federation.wire.figures import Figures
from fednnunet.federation.wire.message import Cases, Iterations, Message, Name, Round, VoxelCounts
from fednnunet.federation.wire.notes import Note
from fednnunet.federation.wire.phases import Phase
from fednnunet.federation.wire.privacy import Spent
from fednnunet.federation.wire.round_log import LogExtract, SeenHead
from fednnunet.ranges import AtMost, Within


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainInvite(Message):
    """One round: the tensors to train from, and for how long.

    `run` is "" for the main training or names a baseline, `round` counts from 0. `resume_round` is
    the number of rounds after which the site's own state is to be taken up: its last round that was
    accepted, 0 where it begins. The learning rate follows from `schedule_start`, the number of
    iterations of the schedule before this round, and `schedule_length`, the number of all of them.
    `log` has what the site lacks of the coordinator's log.
    """

    words: ClassVar[str] = "the federation's shared weights"
    run: Name
    method: Name
    round: Round
    phase: Phase
    resume_round: Round
    iterations: Iterations
    schedule_start: Iterations
    schedule_length: Iterations
    log: LogExtract | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReply(Message):
    """What leaves after local training: tensors, and figures of the site as a whole.

    `run`, `round` and `phase` are those of the invite, so that no reply can count for another one.
    `loss` is the mean over the round, None where patches of too few cases entered it.
    `overlap` counts voxels (tp, fp, fn) of each target over all training patches,
    `held_out` over a few fixed patches of the held-out cases. `iterations` is the number of local
    iterations, `unlabelled` that of training cases without any labelled voxel. `notes` are codes
    for the log, `figures` what the rule of weights asks for, `spent` what differential privacy has
    cost so far. A site that trains `alone` returns the weights that it received. `head` is the last
    line of the coordinator's log that the site has seen.
    """

    words: ClassVar[str] = (
        "updated shared weights, numbers of training cases and of those without labels, mean loss, "
        "overlap on patches, timings, whether the site trains alone, which line of the "
        "coordinator's log was seen last"
    )
    run: Name
    round: Round
    phase: Phase
    cases: Annotated[int, Within(1, MAX_CASES)]
    loss: Annotated[float | None, Within(-1e6, 1e6)]
    seconds: Annotated[float, Within(0, 1e9)]
    wait_share: Annotated[float, Within(0, 1)]
    iterations: Iterations = 1
    unlabelled: Cases = 0
    overlap: VoxelCounts = ()
    held_out: VoxelCounts = ()
    figures: Figures = field(default_factory=Figures)
    notes: Annotated[tuple[Note, ...], AtMost(64)] = ()
    spent: Spent | None = None
    alone: bool = False
    head: SeenHead | None = None
