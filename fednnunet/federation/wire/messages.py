"""All messages that may cross a site's wall, in either direction. Nothing else crosses it.

A message is a frozen dataclass: plain fields travel as JSON, the field `tensors` as safetensors,
both in one byte string. There is no pickle and no code in it. The range of each field stands in its
type and is checked when a message is made, so it holds for what was read as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
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
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.wire.faults import Advice, FaultKind, as_error
from fednnunet.federation.wire.header import read_header, start_of
from fednnunet.federation.wire.message import SAME_VERSION, Cases, Message, Name, Round
from fednnunet.federation.wire.planning_messages import (
    FingerprintReply,
    MeasureInvite,
    ShapesInvite,
    ShapesReply,
)
from fednnunet.federation.wire.training_messages import TrainInvite, TrainReply
from fednnunet.planning.plan import Plan
from fednnunet.ranges import AtMost, Within

SCHEMA = 1


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
            mend=SAME_VERSION,
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
        f"a message cannot be read: {why}", where=f"message of {sender}", mend=SAME_VERSION
    )


def sums(vector: Any) -> dict[str, Tensor]:
    """A flat vector of sums as a message's tensors."""
    return {"sums": torch.as_tensor(vector, dtype=torch.float64)}
