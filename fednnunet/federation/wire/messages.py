"""All messages that may cross a site's wall, in either direction. Nothing else crosses it.

A message is a frozen dataclass: plain fields travel as JSON, the field `tensors` as safetensors,
both in one byte string. There is no pickle and no code in it. The range of each field stands in its
type and is checked when a message is made, so it holds for what was read as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor

from fednnunet import records
from fednnunet.errors import FedNNUNetError, ReplyError
from fednnunet.evaluation.gains import Gain
from fednnunet.evaluation.postprocess import Postprocessing
from fednnunet.evaluation.scores import MAX_CASES, SiteScores
from fednnunet.federation.wire.faults import Advice, FaultKind, as_error
from fednnunet.federation.wire.header import read_header, start_of
from fednnunet.federation.wire.notes import Note
from fednnunet.federation.wire.phases import Phase
from fednnunet.federation.wire.privacy import Spent
from fednnunet.planning.fingerprint import DESCRIPTION
from fednnunet.planning.plan import Plan
from fednnunet.ranges import AtMost, Within, check_ranges
from fednnunet.task import Task

SCHEMA = 1
MAX_ROUNDS = 10**6
MAX_ITERATIONS = 10**9  # of all rounds together

_SAME_VERSION = "give coordinator and sites the same version of the program"

Name = Annotated[str, AtMost(1000)]
Round = Annotated[int, Within(0, MAX_ROUNDS)]
Iterations = Annotated[int, Within(0, MAX_ITERATIONS)]
Cases = Annotated[int, Within(0, MAX_CASES)]
VoxelCounts = Annotated[tuple[tuple[int, int, int], ...], AtMost(4096), Within(0, 2**53)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Base of all messages. `tensors` maps names to values; most messages have none."""

    words: ClassVar[str] = ""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self, ReplyError, mend=_SAME_VERSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureInvite(Message):
    """Asks a site to measure its cases."""

    words: ClassVar[str] = "request: additive statistics of your cases"
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintReply(Message):
    """First exchange: the site's fingerprint as one vector of sums, `tensors["sums"]`."""

    words: ClassVar[str] = DESCRIPTION


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapesInvite(Message):
    """Asks for the histogram of shapes at the federation's target spacing (z, y, x)."""

    words: ClassVar[str] = "request: histogram of resampled shapes"
    spacing_mm: Annotated[tuple[float, float, float], Within(1e-6, 1e6)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapesReply(Message):
    """Second exchange: the histogram of resampled shapes, `tensors["sums"]`."""

    words: ClassVar[str] = "histogram over cases of the shapes after resampling"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareInvite(Message):
    """Hands a site the plan and asks it to prepare its cases for one configuration.

    `tensors` are the first weights where the federation file names given ones, else there are none.
    """

    words: ClassVar[str] = "the common plan"
    plan: Plan
    configuration: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareReply(Message):
    """How many cases the site will train on, and how many it keeps for evaluation."""

    words: ClassVar[str] = "the numbers of cases for training and for evaluation"
    training_cases: Cases
    held_out_cases: Cases


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainInvite(Message):
    """One round: the tensors to train from, and for how long.

    `run` is "" for the main training or names a baseline, `round` counts from 0. `resume_round` is
    the number of rounds after which the site's own state is to be taken up: its last round that was
    accepted, 0 where it begins. The learning rate follows from `schedule_start`, the number of
    iterations of the schedule before this round, and `schedule_length`, the number of all of them.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReply(Message):
    """What leaves after local training: tensors, and figures of the site as a whole.

    `run`, `round` and `phase` are those of the invite, so that no reply can count for another one.
    `loss` is the mean over the round, None where patches of too few cases entered it.
    `overlap` counts voxels (tp, fp, fn) of each target over all training patches,
    `held_out` over a few fixed patches of the held-out cases. `iterations` is the number of local
    iterations, `unlabelled` that of training cases without any labelled voxel. `notes` are codes
    for the log, `spent` is what differential privacy has cost so far.
    """

    words: ClassVar[str] = (
        "updated shared weights, numbers of training cases and of those without labels, mean loss, "
        "overlap on patches, timings"
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
    notes: Annotated[tuple[Note, ...], AtMost(64)] = ()
    spent: Spent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeInvite(Message):
    """Asks for the Dice loss of a model on the site's training cases.

    The model is the site's own after `round` rounds, with the tensors sent along in it.
    """

    words: ClassVar[str] = "request: Dice loss of a model on your training cases"
    run: Name
    method: Name
    round: Round


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReply(Message):
    """1 - mean Dice over patches of all training cases together."""

    words: ClassVar[str] = "Dice loss of a model on the training cases together: one number"
    dice_loss: Annotated[float, Within(0, 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateInvite(Message):
    """Asks for scores on held-out cases: of the personal model, or of the tensors sent along.

    The personal model is the site's state after `round` rounds, with the tensors sent along in it;
    or the `best` that the site has kept, if it has kept one. A `brief` request is for figures
    without pictures. With `routed` the tensors are those of several experts, which are mixed for
    each case. With a `rule` the scores are those of masks after this post-processing.
    """

    words: ClassVar[str] = "request: scores on held-out cases"
    run: Name
    method: Name
    round: Round
    personal: bool
    best: bool = False
    brief: bool = False
    routed: bool = False
    rule: Postprocessing = field(default_factory=Postprocessing)

    @property
    def figures_only(self) -> bool:
        """Whether the site makes no pictures and no report of it."""
        return self.brief or bool(self.rule)

    @property
    def model(self) -> str:
        """Which model is meant: personal, routed or global."""
        return "personal" if self.personal else "routed" if self.routed else "global"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateReply(Message):
    """Sums of scores over the site's held-out cases, of the model after `round` rounds.

    On a model that was trained alone, `gains` has what the main run's models, "personal" and
    "global", have over it. `tensors` holds pictures that the site shares (`wire.pictures`).
    """

    words: ClassVar[str] = "sums over held-out cases of Dice, IoU, HD95 and ASSD"
    scores: SiteScores
    round: Round
    gains: Annotated[dict[str, Gain], AtMost(2)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInvite(Message):
    """Asks a site to give its own model away, named by `round` and `best` as to be evaluated."""

    words: ClassVar[str] = "request: your own model, for external hospitals"
    run: Name
    method: Name
    round: Round
    best: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply(Message):
    """All tensors of the site's own model."""

    words: ClassVar[str] = "the site's own model, whole, for a bundle that external hospitals use"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultReply(Message):
    """Sent in place of any other reply where a site cannot or will not answer.

    It names the kind of fault, how many there are, and what the coordinator can do, all by codes of
    `wire.faults`. The details stay in the site's log.
    """

    words: ClassVar[str] = "that the request failed: kind and number of faults, and an advice"
    kind: FaultKind
    faults: Annotated[int, Within(1, 10**9)]
    advice: Advice

    def error(self, site: str) -> FedNNUNetError:
        """The fault of `site` as an error at the coordinator."""
        return as_error(site, self.kind, self.faults, self.advice)


KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        MeasureInvite,
        FingerprintReply,
        ShapesInvite,
        ShapesReply,
        PrepareInvite,
        PrepareReply,
        TrainInvite,
        TrainReply,
        ProbeInvite,
        ProbeReply,
        EvaluateInvite,
        EvaluateReply,
        ModelInvite,
        ModelReply,
        FaultReply,
    )
}


_Rest = Callable[[], dict[str, Tensor]]


def pack(message: Message) -> bytes:
    """The message as the bytes that travel: a safetensors file with the fields in its header."""
    bare = replace(message, tensors={})
    header: dict[str, Any] = {"schema": SCHEMA, "kind": type(message).__name__}
    fields = records.encode(bare)
    del fields["tensors"]
    metadata = {"message": json.dumps(header | {"fields": fields}, allow_nan=False)}
    tensors = {name: t.detach().cpu().contiguous() for name, t in message.tensors.items()}
    return save_tensors(tensors, metadata=metadata)


def unpack(data: bytes, *, sender: str, limit: int | None = None) -> Message:
    """Read a message of at most `limit` bytes; raises FedNNUNetError for what is not of `KINDS`."""
    return _unpack(data, len(data), sender, limit, lambda: load_tensors(data))


def unpack_file(path: Path, *, sender: str, limit: int | None = None) -> Message:
    """As `unpack`, of a file that nobody writes to any more: it may be removed afterwards.

    The tensors are views of the file, so memory is taken once, and for those alone that are used.
    """
    return _unpack(start_of(path), path.stat().st_size, sender, limit, lambda: load_file(path))


def _unpack(start: bytes, size: int, sender: str, limit: int | None, rest: _Rest) -> Message:
    """Read a message of `size` bytes, of which `start` holds the header, and `rest` the tensors."""
    if limit is not None and size > limit:
        raise _unreadable(f"it has {size:,} bytes, more than {limit:,}", sender)
    try:
        header = read_header(start)
        kind, tensors = KINDS[header.kind], rest()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with foreign bytes, refuse them
        raise _unreadable(type(error).__name__, sender) from None
    if header.schema != SCHEMA:
        raise ReplyError(
            f"a message has schema {str(header.schema)[:20]}, this program speaks {SCHEMA}",
            where=f"message of {sender}",
            mend=_SAME_VERSION,
        )
    try:
        bare = records.decode(kind, header.fields, source=f"message of {sender}")
        return replace(bare, tensors=tensors)
    except FedNNUNetError:
        raise
    except Exception as error:  # noqa: BLE001 - fields are foreign, too
        raise _unreadable(type(error).__name__, sender) from None


def _unreadable(why: str, sender: str) -> ReplyError:
    return ReplyError(
        f"a message cannot be read: {why}", where=f"message of {sender}", mend=_SAME_VERSION
    )


def sums(vector: Any) -> dict[str, Tensor]:
    """A flat vector of sums as a message's tensors."""
    return {"sums": torch.as_tensor(vector, dtype=torch.float64)}
