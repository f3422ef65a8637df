"""Rounds of one site on a tiny network, and merges of made-up replies, for tests of methods."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.mean import Weight
from fednnunet.federation.methods.merge import Merge, Reply, State
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import EvaluateInvite, TrainInvite, TrainReply
from fednnunet.federation.wire.phases import Phase
from fednnunet.training.initial import initial_tensors
from tests.federation.site_fakes import CONFIGURATION, ITERATIONS, ROUNDS, SmallSite, a_trainer
from tests.training.fakes import small_plan


def merged(merge: Merge, state: State, replies: Sequence[Reply]) -> State:
    """The state after a round of these replies."""
    aggregation = merge.start(state)
    for reply in replies:
        aggregation.add(reply)
    return aggregation.finish()


def weights_of(weights: Weight, replies: Sequence[Reply]) -> dict[str, float]:
    """What each site counts in the mean."""
    return {reply.site: weights(reply) for reply in replies}


def an_invite(
    method: str, tensors, number: int, *, phase: Phase = "joint", resume_round: int | None = None
) -> TrainInvite:
    """A round in which a site that missed none takes part, on a schedule of `ROUNDS` rounds."""
    return TrainInvite(
        tensors=tensors,
        run="",
        method=method,
        round=number,
        phase=phase,
        resume_round=number if resume_round is None else resume_round,
        iterations=ITERATIONS,
        schedule_start=number % ROUNDS * ITERATIONS,
        schedule_length=ROUNDS * ITERATIONS,
    )


def first_tensors():
    return initial_tensors(small_plan()[0], CONFIGURATION, seed=0)


def as_method_sees(site: str, reply: TrainReply) -> Reply:
    tensors, extras = split(reply.tensors)
    return Reply(
        site=site,
        tensors=tensors,
        extras=extras,
        cases=reply.cases,
        loss=reply.loss,
        iterations=reply.iterations,
    )


def rounds_alone(trainer: SmallSite, method: str):
    """All rounds of one site whose weights come back unchanged, and its model."""
    state = State(round=0, shared=METHODS[method].shared(first_tensors()))
    replies = []
    for number in range(ROUNDS):
        replies.append(trainer.train(an_invite(method, join(state.shared, state.extras), number)))
        new = merged(METHODS[method].merge, state, [as_method_sees(trainer.name, replies[-1])])
        state = replace(new, shared=split(replies[-1].tensors)[0])
    shared = state.shared
    invite = EvaluateInvite(tensors=shared, run="", method=method, round=ROUNDS, personal=True)
    return replies, trainer.bundle(invite).weights


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneSite:
    """All rounds of the site `one`, which is alone: its replies, its model, and its memory."""

    folder: Path
    replies: Sequence[TrainReply]
    model: Mapping[str, Tensor]
    memory: Mapping[str, Tensor]


def lone_site(folder: Path, method: str) -> LoneSite:
    """Run all rounds of a method in `folder`."""
    trainer = a_trainer(folder, "one")
    replies, model = rounds_alone(trainer, method)
    memory = memory_of(trainer, ROUNDS)
    return LoneSite(folder=folder, replies=tuple(replies), model=model, memory=memory)


def memory_of(trainer: SmallSite, number: int):
    tensors = load_file(trainer.base / "state" / f"round_{number:04d}" / "state.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.startswith("memory.")}


def field_docs(kind: type) -> dict[str, str]:
    """The text under each annotated field of a class."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            found[ast.unparse(field.target)] = ast.literal_eval(text.value)
    return found
